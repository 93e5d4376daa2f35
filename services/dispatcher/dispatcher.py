"""The loop: a bell or five seconds, then as many claims as there are free slots."""

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
from events.words import Conflict, Invalid, PenstockError
from functions.request.lifecycle import claim, release
from services.dispatcher.choice import AMONG_FIRST, among_first, next_turn
from services.dispatcher.ports import Ports
from services.dispatcher.run import Run
from services.dispatcher.sweep import Sweep, pay_debts

log = logging.getLogger("penstock.dispatcher")


class Dispatcher:
    """Runs queued requests until it is stopped."""

    def __init__(self, ports: Ports, random: Random) -> None:
        self._ports = ports
        self._random = random
        self._bell = asyncio.Event()
        self._runs: dict[asyncio.Task[None], Run] = {}
        self._tenants: Counter[str] = Counter()
        self._turns = 0
        self._last_turns: dict[str, int] = {}
        self._sweep = Sweep(ports)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def running(self) -> int:
        """How many requests run here now."""
        return len(self._runs)

    async def handle(self, envelope: Envelope) -> Sequence[Event]:
        """Notes a doorbell, or sweeps when that job is due."""
        match envelope.event:
            case InferenceRouted():
                self._bell.set()
            case JobDue(job="sweep-requests"):
                if await self._sweep.run():
                    self._bell.set()
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
        self._tasks.append(asyncio.create_task(self._loop()))

    async def _release_all(self) -> None:
        while found := await self._ports.requests.running(100):
            for stored in found:
                await self._ports.requests.replace(release(stored.document), stored.version)

    async def _pay_debts(self, before: datetime) -> None:
        try:
            await pay_debts(self._ports, before)
        except PenstockError as error:
            log.warning("events still owed wait for the sweep: %s", error)

    async def _loop(self) -> None:
        while True:
            self._bell.clear()
            try:
                await self._fill()
            except PenstockError as error:
                log.warning("the queue cannot be read: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ports.pace.look_every_s):
                    await self._bell.wait()

    async def _fill(self) -> None:
        while len(self._runs) < self._ports.pace.slots:
            claimed = await self._claim_next()
            if claimed is None:
                return
            self._begin(claimed)

    async def _claim_next(self) -> Versioned | None:
        ports, now = self._ports, self._ports.now()
        while True:
            waiting = await ports.requests.waiting_tenants(now)
            turn = next_turn(waiting, self._tenants, self._last_turns)
            if turn is None:
                return None
            found = among_first(await ports.requests.waiting(*turn, now, AMONG_FIRST), self._random)
            if found is None:  # another dispatcher was faster
                continue
            claimed = claim(found.document, ports.owner, now, ports.pace.lease_s)
            with contextlib.suppress(Conflict):  # the same
                version = await ports.requests.replace(claimed, found.version)
                return Versioned(document=claimed, version=version)

    def _begin(self, claimed: Versioned) -> None:
        run = Run(claimed, self._ports)
        tenant = claimed.document.tenant
        task = asyncio.create_task(run.run())
        self._runs[task] = run
        self._tenants[tenant] += 1
        self._turns += 1
        self._last_turns[tenant] = self._turns

        def ended(task: asyncio.Task[None]) -> None:
            self._runs.pop(task, None)
            self._tenants[tenant] -= 1
            self._bell.set()
            if not task.cancelled() and (error := task.exception()):
                log.error("the run of %s broke off: %s", claimed.document.id, error, exc_info=error)

        task.add_done_callback(ended)

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
        for run in left.values():
            await run.give_back()
