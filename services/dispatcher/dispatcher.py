"""The loop: a bell, a free slot, the end of a pause or five seconds; then a claim for each free slot."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from random import Random

from events.envelope import Envelope, Event
from events.inference import InferenceRouted
from events.jobs import JobDue
from events.requests import Versioned
from events.usage import Completed
from events.words import Conflict, Invalid, PenstockError
from functions.request.lifecycle import claim, release
from services.dispatcher.choice import among_first, next_turn
from services.dispatcher.ports import Ports
from services.dispatcher.pressure import Tally
from services.dispatcher.run import Run
from services.dispatcher.sweep import Sweep, pay_debts
from services.dispatcher.waiting import Waiting

PAUSE_S = 1.0  # after a failure, so that bells do not make the next ones follow at once

log = logging.getLogger("penstock.dispatcher")


class Dispatcher:
    """Runs queued requests until it is stopped."""

    def __init__(self, ports: Ports, random: Random) -> None:
        self.tally = Tally()
        self._ports = ports
        self._random = random
        self._awake = asyncio.Event()
        self._waiting = Waiting(ports.requests)
        self._look_at = 0.0
        self._runs: dict[asyncio.Task[None], Run] = {}
        self._tenants: Counter[str] = Counter()
        self._turns = 0
        self._last_turns: dict[str, int] = {}
        self._sweep = Sweep(ports)
        self._serving: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def running(self) -> int:
        """How many requests run here now."""
        return len(self._runs)

    async def missing(self) -> str | None:
        """Why nothing is claimed here; None while the loop lives. What readiness asks."""
        return "it claims nothing" if self._serving is None or self._serving.done() else None

    async def handle(self, envelope: Envelope) -> Sequence[Event]:
        """Notes a doorbell, or sweeps when that job is due."""
        match envelope.event:
            case InferenceRouted() as bell:
                self.tally.arrived(bell.backend, bell.lane)
                self._waiting.add([(bell.tenant, bell.lane)])
                self._awake.set()
            case JobDue(job="sweep-requests"):
                if await self._sweep.run():
                    self._look_now()
            case _:
                raise Invalid(f"The dispatcher does not consume {envelope.type} ({envelope.subject}).")
        return []

    async def start(self, *, alone: bool) -> None:
        """Begins. `alone` says that no other dispatcher can be alive, so all claims are of the dead, and
        nobody else is about to publish what documents owe.
        """
        if alone:
            await self._release_all()
            # Beside the queue: thousands may owe, each costs two commits, and serving must not wait.
            self._tasks.append(asyncio.create_task(self._pay_debts(self._ports.now())))
        self._serving = asyncio.create_task(self._serve())
        self._tasks.append(self._serving)

    async def _release_all(self) -> None:
        while found := await self._ports.requests.running(100):
            for stored in found:
                await self._ports.requests.replace(release(stored.document), stored.version)

    async def _pay_debts(self, before: datetime) -> None:
        try:
            await pay_debts(self._ports, before)
        except PenstockError as error:
            log.warning("events still owed wait for the sweep: %s", error)
        except Exception:
            log.exception("events still owed wait for the sweep")

    async def _serve(self) -> None:
        """Whatever goes wrong with one look, the next one may succeed: only `stop` ends this."""
        while True:
            self._awake.clear()
            try:
                await self._fill()
            except PenstockError as error:
                log.warning("the queue cannot be read: %s", error)
                await self._pause()
            except Exception:
                log.exception("the queue cannot be served")
                await self._pause()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._full else self._to_wait_s):
                    await self._awake.wait()

    @property
    def _full(self) -> bool:
        return len(self._runs) >= self._ports.pace.slots

    @property
    def _to_look_s(self) -> float:
        return self._look_at - asyncio.get_running_loop().time()

    @property
    def _to_wait_s(self) -> float:
        """Until the next look, or until one may be claimed again that could not be yet."""
        at = self._waiting.next_at
        if at is None:
            return self._to_look_s
        return min(self._to_look_s, (at - self._ports.now()).total_seconds())

    def _look_now(self) -> None:
        self._look_at = 0.0
        self._awake.set()

    async def _pause(self) -> None:
        await asyncio.sleep(min(PAUSE_S, self._ports.pace.look_every_s))
        self._look_now()

    async def _fill(self) -> None:
        while not self._full:
            if self._to_look_s <= 0:
                await self._look()
            self._waiting.come(self._ports.now())
            turn = next_turn(self._waiting.turns, self._tenants, self._last_turns)
            if turn is None:
                return
            found = among_first(await self._waiting.hand(turn, self._ports.now()), self._random)
            if found is not None:
                self._waiting.take(turn, found)
                await self._claim(found)

    async def _look(self) -> None:
        await self._waiting.look(self._ports.now())
        self._look_at = asyncio.get_running_loop().time() + self._ports.pace.look_every_s

    async def _claim(self, found: Versioned) -> None:
        """Begins to run it, unless another dispatcher was faster, or its time is over."""
        ports, now = self._ports, self._ports.now()
        if found.document.deadline_at <= now:
            return
        claimed = claim(found.document, ports.owner, now, ports.pace.lease_s)
        with contextlib.suppress(Conflict):
            version = await ports.requests.replace(claimed, found.version)
            self._begin(Versioned(document=claimed, version=version))

    def _begin(self, claimed: Versioned) -> None:
        run = Run(claimed, self._ports)
        tenant, lane = claimed.document.tenant, claimed.document.lane
        task = asyncio.create_task(run.run())
        self._runs[task] = run
        self.tally.began(claimed.document)
        self._tenants[tenant] += 1
        self._turns += 1
        self._last_turns[tenant] = self._turns

        def ended(task: asyncio.Task[None]) -> None:
            self._runs.pop(task, None)
            self.tally.ended(claimed.document, run.completed)
            self._count(claimed.document.url, run.completed)
            self._tenants[tenant] -= 1
            if run.waits_again:
                self._waiting.add_later((tenant, lane), run.not_before)
            self._awake.set()
            if not task.cancelled() and (error := task.exception()):
                log.error("the run of %s broke off: %s", claimed.document.id, error, exc_info=error)

        task.add_done_callback(ended)

    def _count(self, url: str, done: Completed | None) -> None:
        metrics = self._ports.metrics
        if metrics is not None and done is not None:
            took_s = done.duration_ms / 1000
            metrics.attempted(done.model, done.backend, url, done.outcome, done.usage, took_s)

    async def stop(self, grace_s: float) -> None:
        """Lets runs end for `grace_s`, then gives the rest back to the queue."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        runs = dict(self._runs)
        if runs:
            await asyncio.wait(runs, timeout=grace_s)
        left = {task: run for task, run in runs.items() if not task.done()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.gather(*(run.give_back() for run in left.values()))
