"""Calls with an idempotency key: the first is run, those that retry it wait for what it comes to."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from msgspec.structs import replace

from events.words import ApiKey, Conflict, PenstockError, Refusal, Unavailable, server_problem
from functions.request.idempotency import (
    IN_USE,
    KIND,
    NOT_KEPT,
    OTHER_BODY,
    KeyedCall,
    Stored,
    Verdict,
    fingerprint,
    judge,
    named,
    read_key,
)
from services.front.call import Call, Reply
from services.front.limits import FULL
from services.router.idempotency.ports import Ports
from services.router.idempotency.recording import Ended, Recording
from services.router.idempotency.result import Result, packed, refuse, replay, unpacked
from services.router.idempotency.waiting import Waiting
from services.wire.ids import request_id

MOST_AT_ONCE = 2048  # calls with a key in this process, running and waiting
MOST_ALONE = 256  # of them running on without their client
LOOKS_SLOWER, LONGEST_LOOK_S = 1.5, 2.0
STORES_AGAIN = 3
CLOSES_WITHIN_S = 5.0

Go = Callable[[Reply], None]
Outcome = Result | Refusal | None

AWAY = Refusal(
    status=503,
    problem=server_problem("Idempotency keys cannot be looked up right now; try again.", "keys_unavailable"),
    retry_after_s=1,
)
TOO_MANY = Refusal(status=503, problem=server_problem(FULL, "overloaded"), retry_after_s=1)
CLOSING = Refusal(
    status=503,
    problem=server_problem("This server is shutting down; try again.", "shutting_down"),
    retry_after_s=1,
)
FAILED = Refusal(status=500, problem=server_problem("Something failed here.", "internal_error"))

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

    __slots__ = ("begun", "call", "over", "version")

    def __init__(self, call: KeyedCall) -> None:
        loop = asyncio.get_running_loop()
        self.call = call
        self.version = 0
        self.begun: asyncio.Future[bool] = loop.create_future()
        self.over: asyncio.Future[Outcome] = loop.create_future()

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
        key = read_key(call.headers[b"idempotency-key"].decode("latin-1"))
        if isinstance(key, Refusal):
            refuse(key, reply, self._ports.metrics)
        elif len(self._tasks) >= MOST_AT_ONCE:
            refuse(TOO_MANY, reply, self._ports.metrics)
        else:
            ports = self._ports
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
        try:
            mine = await self._mine(caller.tenant, key, call)
            asked = Asked(call, waiting, go, mine, self._ports.clock() + self._ports.patience.here_s)
            outcome = await self._answer(asked)
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

    async def _mine(self, tenant: str, key: str, call: Call) -> KeyedCall:
        ports = self._ports
        secret = await ports.sealer.secret(tenant, KIND)
        now = ports.now()
        return KeyedCall(
            id=named(secret, key),
            tenant=tenant,
            fingerprint=fingerprint(secret, call.path, call.body),
            owner=ports.owner,
            run=request_id(),
            lease_until=(until := now + timedelta(seconds=ports.patience.lease_s)),
            expire_at=until + timedelta(seconds=ports.patience.keep_s),  # while it runs, not at all
        )

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
            if run.call.fingerprint != mine.fingerprint and run.begun.result():
                return OTHER_BODY
            if not await asked.waiting.hears(run.over, asked.until):
                break
            outcome = run.over.result()
            if outcome is not None and run.call.fingerprint == mine.fingerprint:
                return outcome
        return None if asked.waiting.gone else IN_USE

    async def _look(self, asked: Asked) -> Outcome:
        """Looks in the store, as the only one of this process with this key, and runs what is not there."""
        run = self._runs[asked.mine.id] = Run(asked.mine)
        outcome: Outcome = None
        try:
            stored = await self._first_look(run, asked)
            outcome = await self._run(run, asked) if stored is None else await self._told(stored, asked.mine)
        finally:
            del self._runs[asked.mine.id]
            run.ends(outcome)
        return None if stored is None else outcome

    async def _first_look(self, run: Run, asked: Asked) -> Stored | Refusal | None:
        """None where the call is ours to run. One that runs elsewhere is waited for a while."""
        ports, mine = self._ports, asked.mine
        until, pause_s = ports.clock() + ports.patience.elsewhere_s, ports.patience.look_s
        stored: Stored | None = await ports.calls.create(mine)
        while True:
            if stored is None:
                stored = await ports.calls.create(mine)
            verdict = self._judge(stored, mine)
            if verdict == "dead":
                stored = await self._take_over(stored, mine)
                continue
            if verdict == "mine":
                run.version = stored.version
                return None
            if verdict != "running":
                return stored
            if ports.clock() > until or self._closing or asked.waiting.gone:
                return CLOSING if self._closing else IN_USE
            await asked.waiting.hears(None, ports.clock() + pause_s)
            pause_s = min(pause_s * LOOKS_SLOWER, LONGEST_LOOK_S)
            stored = await ports.calls.get(mine.id)

    def _judge(self, stored: Stored, mine: KeyedCall) -> Verdict:
        ports = self._ports
        return judge(stored.call, mine, ports.now(), skew_s=ports.patience.skew_s, alone=ports.alone)

    async def _take_over(self, stored: Stored, mine: KeyedCall) -> Stored | None:
        """Runs in the place of one that died; whoever else wants to must not."""
        try:
            return Stored(call=mine, version=await self._ports.calls.replace(mine, stored.version))
        except Conflict:
            return await self._ports.calls.get(mine.id)

    async def _told(self, stored: Stored | Refusal, mine: KeyedCall) -> Result | Refusal:
        """What a call came to that ended before."""
        if isinstance(stored, Refusal):
            return stored
        ports = self._ports
        match self._judge(stored, mine):
            case "answered":
                run = stored.call.run
                sealed = await ports.bodies.get(run)
                if sealed is None:
                    return NOT_KEPT
                return unpacked(await ports.sealer.open(mine.tenant, KIND, run, sealed))
            case "other":
                return OTHER_BODY
        return NOT_KEPT

    # --- a run

    async def _run(self, run: Run, asked: Asked) -> Outcome:
        """Has the call answered, keeps the answer, and only then lets its client see the end of it."""
        if asked.waiting.gone or self._closing:
            await self._release(run)
            self._tell(CLOSING, asked.waiting)
            return None
        run.begun.set_result(True)
        held = _Without(self, len(asked.call.body))
        recording = Recording(asked.waiting.reply, self._ports.budget, held.goes_on)
        try:
            self._go(asked, recording)
            return await self._keep(run, await self._ended(run, recording))
        finally:
            recording.deliver()
            held.over()

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
            await self._renew(run)

    async def _renew(self, run: Run) -> None:
        until = self._ports.now() + timedelta(seconds=self._ports.patience.lease_s)
        try:
            expire_at = until + timedelta(seconds=self._ports.patience.keep_s)
            await self._write(run, replace(run.call, lease_until=until, expire_at=expire_at))
        except PenstockError as error:
            log.warning("a call under an idempotency key cannot be renewed: %s", error)

    async def _write(self, run: Run, call: KeyedCall) -> None:
        """Raises `Conflict` where another process took the call over."""
        calls = self._ports.calls
        try:
            run.version = await calls.replace(call, run.version)
        except Conflict:
            found = await calls.get(call.id)
            if found is None or found.call.run != call.run:
                raise
            run.version = await calls.replace(call, found.version)  # the write before it went unheard

    async def _keep(self, run: Run, ended: Ended) -> Outcome:
        """What did not become an answer leaves its key free; a retry is run anew."""
        if not ended.whole:
            await self._release(run)
            return None
        for number in range(1, STORES_AGAIN + 1):
            try:
                await self._store(run, ended.result)
                break
            except Unavailable as error:
                log.warning("a result cannot be stored (%d of %d): %s", number, STORES_AGAIN, error)
                await asyncio.sleep(self._ports.patience.store_again_s * number)
            except PenstockError as error:
                log.warning("a result cannot be stored: %s", error)
                break
        return ended.result or NOT_KEPT

    async def _store(self, run: Run, result: Result | None) -> None:
        ports, call = self._ports, run.call
        expire_at = ports.now() + timedelta(seconds=ports.patience.keep_s)
        if result is None:
            await self._write(run, replace(call, state="unkept", expire_at=expire_at))
            return
        sealed = await ports.sealer.seal(call.tenant, KIND, call.run, packed(result))
        await ports.bodies.put(call.run, sealed, expire_at)
        await self._write(run, replace(call, state="answered", expire_at=expire_at))

    async def _release(self, run: Run) -> None:
        try:
            await self._ports.calls.delete(run.call.id, run.version)
        except PenstockError as error:  # its lease will end
            log.warning("an idempotency key cannot be released: %s", error)

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


class _Without:
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
