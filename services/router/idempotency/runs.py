"""Calls with an idempotency key: the first is run, those that retry it wait for what it comes to."""

import asyncio
import logging
from collections.abc import Callable

from events.words import ApiKey, PenstockError, Refusal, server_problem
from functions.request.idempotency import IN_USE, NOT_KEPT, OTHER_BODY, KeyedCall, Stored, read_key
from services.front.call import Call, Reply
from services.front.limits import FULL
from services.router.idempotency.claims import Claim, Claims
from services.router.idempotency.later import Later
from services.router.idempotency.ports import Ports
from services.router.idempotency.recording import Ended, Recording
from services.router.idempotency.result import Result, refuse, replay
from services.router.idempotency.waiting import Waiting
from services.wire.errors import CLOSING, FAILED

MOST_AT_ONCE = 2048  # calls with a key in this process, running and waiting
MOST_ALONE = 256  # of them running on without their client
LOOKS_SLOWER, LONGEST_LOOK_S = 1.5, 2.0
CLOSES_WITHIN_S = 5.0

Go = Callable[[Reply], None]
Outcome = Result | Refusal | None

AWAY = Refusal(
    status=503,
    problem=server_problem(
        "Idempotency keys cannot be looked up right now; try again.", "idempotency_unavailable"
    ),
    retry_after_s=1,
)
TOO_MANY = Refusal(status=503, problem=server_problem(FULL, "overloaded"), retry_after_s=1)

log = logging.getLogger("penstock.router")


class Asked:
    """A call with a key: `mine` is what it would be stored as, `go` has it answered."""

    __slots__ = ("call", "go", "mine", "until", "waiting")

    def __init__(self, call: Call, waiting: Waiting, go: Go, mine: KeyedCall, until: float) -> None:
        self.call = call
        self.waiting = waiting
        self.go = go
        self.mine = mine
        self.until = until


class Run:
    """A key in use here. `begun`: whether its call is run by this process, once it is known. `over`: what it
    came to; None where whoever waits may run it anew.
    """

    __slots__ = ("begun", "claim", "over")

    def __init__(self, call: KeyedCall) -> None:
        loop = asyncio.get_running_loop()
        self.claim = Claim(call)
        self.begun: asyncio.Future[bool] = loop.create_future()
        self.over: asyncio.Future[Outcome] = loop.create_future()

    def is_of(self, call: KeyedCall) -> bool:
        """Whether it is the same call, and not another one under the same key."""
        return self.claim.call.fingerprint == call.fingerprint

    def ends(self, outcome: Outcome) -> None:
        """Tells whoever waits."""
        if not self.begun.done():
            self.begun.set_result(False)
        if not self.over.done():
            self.over.set_result(outcome)


class Runs:
    """All calls with a key in this process; the stores are asked once before a call and once behind it."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._claims = Claims(ports)
        self._runs: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._alone = 0
        self._closing = False

    @property
    def under_way(self) -> int:
        """How many calls with a key run or wait."""
        return len(self._tasks)

    def serve(self, caller: ApiKey, call: Call, reply: Reply, go: Go) -> None:
        """Answers a call with a key: from what is stored, or by `go`, which gets the reply to use."""
        ports = self._ports
        key = read_key(call.headers[b"idempotency-key"].decode("latin-1"))
        if isinstance(key, Refusal):
            refuse(key, reply, ports.metrics)
        elif len(self._tasks) >= MOST_AT_ONCE:
            refuse(TOO_MANY, reply, ports.metrics)
        else:
            waiting = Waiting(reply, call.body, ports.patience.alive_after_s, ports.clock)
            task = asyncio.get_running_loop().create_task(self._serve(caller, key, call, waiting, go))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends what waits, and stores what ended; calls that run were ended before."""
        self._closing = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSES_WITHIN_S)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, caller: ApiKey, key: str, call: Call, waiting: Waiting, go: Go) -> None:
        until = self._ports.clock() + self._ports.patience.here_s
        try:
            mine = await self._claims.named(caller.tenant, key, call)
            outcome = await self._answer(Asked(call, waiting, go, mine, until))
        except PenstockError as error:
            log.warning("idempotency keys cannot be looked up: %s", error)
            outcome = AWAY
        except asyncio.CancelledError:
            self._tell(CLOSING, waiting)
            raise
        except Exception:
            log.exception("a call with an idempotency key failed")
            outcome = FAILED
        if outcome is not None:
            self._tell(outcome, waiting)

    def _tell(self, outcome: Result | Refusal, waiting: Waiting) -> None:
        if waiting.reply.listener is not waiting:  # it was answered, or whoever answers it is gone
            return
        if isinstance(outcome, Refusal):
            refuse(outcome, waiting.reply, self._ports.metrics)
        else:
            replay(outcome, waiting.reply)

    # --- the first, and those after it

    async def _answer(self, asked: Asked) -> Outcome:
        """What to tell the client; None where it was answered, or left."""
        mine = asked.mine
        while not asked.waiting.gone:
            if self._closing:
                return CLOSING
            run = self._runs.get(mine.id)
            if run is None:
                return await self._look(asked)
            if not await asked.waiting.hears(run.begun, asked.until):
                break
            if run.begun.result() and not run.is_of(mine):
                return OTHER_BODY
            if not await asked.waiting.hears(run.over, asked.until):
                break
            outcome = run.over.result()
            if outcome is not None and run.is_of(mine):
                return outcome
        return None if asked.waiting.gone else IN_USE

    async def _look(self, asked: Asked) -> Outcome:
        """Looks in the store, as the only one of this process with this key, and runs what is not there."""
        run = self._runs[asked.mine.id] = Run(asked.mine)
        outcome: Outcome = None
        try:
            found = await self._found(run, asked)
            if found is None:
                outcome = await self._run(run, asked)
                return None
            if isinstance(found, Stored):
                outcome = await self._claims.told(found, asked.mine)
            elif not asked.waiting.gone:  # else others go on waiting: one of them looks
                outcome = found
        finally:
            del self._runs[asked.mine.id]
            run.ends(outcome)
        return outcome

    async def _found(self, run: Run, asked: Asked) -> Stored | Refusal | None:
        """None where the call is ours to run. One that runs elsewhere is waited for a while."""
        ports, claims, mine = self._ports, self._claims, asked.mine
        until, pause_s = ports.clock() + ports.patience.elsewhere_s, ports.patience.look_s
        stored: Stored | None = None
        while True:
            if stored is None:
                stored = await claims.ask(mine)
            match claims.judge(stored, mine):
                case "mine":
                    run.claim.version = stored.version
                    return None
                case "dead":
                    stored = await claims.take_over(stored, mine)
                    continue
                case "running":
                    pass
                case _:
                    return stored
            if self._closing or asked.waiting.gone or ports.clock() > until:
                return CLOSING if self._closing else IN_USE
            await asked.waiting.hears(None, ports.clock() + pause_s)
            pause_s = min(pause_s * LOOKS_SLOWER, LONGEST_LOOK_S)
            stored = await claims.look(mine)

    # --- a run

    async def _run(self, run: Run, asked: Asked) -> Outcome:
        """Has the call answered, keeps the answer, and only then lets its client see the end of it."""
        if asked.waiting.gone or self._closing:
            await self._claims.release(run.claim)
            self._tell(CLOSING, asked.waiting)
            return None
        run.begun.set_result(True)
        alone, later = _Alone(self, len(asked.call.body)), Later()
        asked.call.later = later
        recording = Recording(asked.waiting.reply, self._ports.budget, alone.goes_on)
        try:
            self._go(asked, recording)
            ended = await self._ended(run, recording)
            if not ended.whole:  # the key is free, and a retry is run anew
                await self._claims.release(run.claim)
                return None
            await self._claims.keep(run.claim, ended.result)
            return ended.result or NOT_KEPT
        finally:
            later.over()
            recording.deliver()
            alone.over()

    def _go(self, asked: Asked, recording: Recording) -> None:
        try:
            asked.go(recording)
        except Exception:
            log.exception("an endpoint failed under an idempotency key")
            refuse(FAILED, recording, self._ports.metrics)

    async def _ended(self, run: Run, recording: Recording) -> Ended:
        """Waits for the end, and says meanwhile that the call is still run."""
        while True:
            done, _ = await asyncio.wait((recording.ended,), timeout=self._ports.patience.heartbeat_s)
            if done:
                return recording.ended.result()
            await self._claims.renew(run.claim)

    # --- without a client

    def may_go_on(self, size: int) -> bool:
        """Whether there is room for a call of `size` bytes that nobody waits for; if so, it is taken."""
        if self._alone >= MOST_ALONE or self._closing or not self._ports.budget.take(size):
            return False
        self._alone += 1
        return True

    def went(self, size: int) -> None:
        """One of them is over."""
        self._alone -= 1
        self._ports.budget.give_back(size)


class _Alone:
    """Whether a run goes on without its client, and the room it takes then."""

    def __init__(self, runs: Runs, size: int) -> None:
        self._runs = runs
        self._size = size
        self._goes_on = False

    def goes_on(self) -> bool:
        self._goes_on = self._runs.may_go_on(self._size)
        return self._goes_on

    def over(self) -> None:
        if self._goes_on:
            self._goes_on = False
            self._runs.went(self._size)
