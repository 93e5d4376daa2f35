"""An engine, a platform and its callers: put together, disturbed, and in the end asked what happened."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any

from tests.kill.facts import Facts, Kill, Named, Queued, Sum, Terms
from tests.kill.rig import remains
from tests.kill.rig.calls import Call
from tests.kill.rig.load import Load
from tests.kill.rig.processes import LOOK_EVERY_S, Engine, Platform

QUEUE_SLOTS = 16
LEASE_S = 3.0
SILENT_AFTER_S = 3.0
SWEEP_EVERY_S = 1.0
CLOCK_SKEW_S = 2.0  # what the product allows for before it calls a lease lost

# Everything that takes its time, faster than usual.
SETTINGS = {
    "PROGRESS_EVERY_S": "1",
    "SILENT_AFTER_S": f"{SILENT_AFTER_S:g}",
    "JOB_EVERY_S": f"{SWEEP_EVERY_S:g}",
    "LEASE_S": f"{LEASE_S:g}",
    "HEARTBEAT_S": "1",
    "QUEUE_SLOTS": f"{QUEUE_SLOTS}",
    "FIRST_BYTE_TIMEOUT_S": "60",
    "IDLE_TIMEOUT_S": "60",
    "DRAIN_S": "0.2",
}
TERMS = Terms(tokens_per_s=200.0, progress_every_s=1.0, margin_s=2.0)  # of the engine's profile "quick"
CHAIN = range(3, 21)  # the syncs from a published request's message to its bill, about
SETTLING_ROUNDS = 12  # longer than a document may owe events
READERS = 16
STORED_WITHIN_S = 10  # of being published, at the latest
ENDS_WITHIN_S = 30  # of being asked for


class Rig:
    """All of it; `dice` decide what is left to chance."""

    stored_within_s = STORED_WITHIN_S

    def __init__(self, engine: Engine, platform: Platform, seed: int) -> None:
        self.engine = engine
        self.platform = platform
        self.load = Load(platform, Random(seed))
        self.dice = Random(seed + 1)  # others than the load's, whose calls come in no fixed order
        self.chain = islice(cycle(CHAIN), self.dice.randrange(len(CHAIN) // 3), None)
        self.kills: list[Kill] = []
        self._ended: set[str] = set()

    def kill(self, phase: str, *, still_since: float | None = None) -> None:
        """Kills the platform; `still_since` is when the last commit got through, if that is long ago."""
        at, in_flight = time.time(), self.load.in_flight
        self.platform.kill()
        self.note_kill(phase, at, in_flight, 0.0 if still_since is None else at - still_since)

    def note_kill(self, phase: str, at: float, in_flight: int, held_back_s: float = 0.0) -> None:
        """Remembers a death."""
        kill = Kill(at=at, phase=phase, in_flight=in_flight + QUEUE_SLOTS, held_back_s=held_back_s)
        self.kills.append(kill)

    async def recover(self, down_s: float = 0.0) -> None:
        """Starts the platform again, and lets go of what the engine held."""
        await self.platform.gone()
        await self.engine.release()
        await asyncio.sleep(down_s)
        await self.platform.start()

    async def restart(self, **settings: str) -> None:
        """Ends the platform well, and starts it with some settings other than usual."""
        await self.platform.stop()
        await self.platform.start(**settings)

    async def idle(self) -> None:
        """Waits until nothing is under way."""
        await self.load.done()
        await self.load.all_read()
        begun = [name for name in self.load.acknowledged if name not in self._ended]
        ended = await self._read(begun, within_s=ENDS_WITHIN_S)
        self._ended.update(request.request_id for request in ended)

    async def facts(self) -> Facts:
        """Waits until nothing is left to do, stops the platform and asks everybody."""
        await self.idle()
        await self.load.ask_again()
        queued = await self._read(self.load.acknowledged, within_s=0)
        sums, left = await self._settled()
        return Facts(
            terms=TERMS,
            engine=tuple(self.engine.rows()),
            records=left.records,
            sums=tuple(map(_sum, sums)),
            calls=tuple(call.fact() for call in self.load.calls),
            queued=queued,
            named=tuple(
                Named(key=key, told=frozenset(told), stored=left.stored.get(key, frozenset()))
                for key, told in self.load.told.items()
            ),
            readings=tuple(reading for one in self.load.followers for reading in one.readings),
            journal=left.journal,
            finals=left.finals,
            kills=tuple(self.kills),
            dead_letters=tuple(f"{dead.subscription}: {dead.reason}" for dead in left.dead),
            unsettled=left.unsettled,
        )

    async def _settled(self) -> tuple[list[dict[str, Any]], remains.Remains]:
        """What `penstock usage` said and what lay on the disk when nothing was left to do."""
        rounds = 0
        while True:
            await asyncio.sleep(SILENT_AFTER_S + 2 * SWEEP_EVERY_S)
            sums = await self.platform.usage()
            await self.platform.stop()
            left = await remains.read(self.platform.data)
            rounds += 1
            if not left.unsettled or rounds == SETTLING_ROUNDS:
                return sums, left
            await self.platform.start()

    async def _read(self, names: Iterable[str], within_s: int) -> tuple[Queued, ...]:
        """Acknowledged requests as their callers read them, once they have ended."""
        turn = asyncio.Semaphore(READERS)

        async def read(name: str) -> Queued:
            async with turn:
                return await self._read_one(name, within_s)

        return tuple(await asyncio.gather(*(read(name) for name in names)))

    async def _read_one(self, name: str, within_s: int) -> Queued:
        """A request that was published can be read only once it was taken off the bus."""
        deadline = time.monotonic() + min(within_s, self.stored_within_s)
        while True:
            call = Call("GET", f"/v1/requests/{name}?wait={within_s}", key=self.platform.key)
            await call.run(self.platform.port)
            if call.status == 200:
                return _queued(name, call.json)
            assert call.status == 404, call.body
            if time.monotonic() > deadline:
                return Queued(request_id=name, status="missing", completion_id="")
            await asyncio.sleep(LOOK_EVERY_S)


def _queued(name: str, resource: dict[str, Any]) -> Queued:
    response = resource["response"]
    completion_id = response["body"]["id"] if response else ""
    return Queued(request_id=name, status=resource["status"], completion_id=completion_id)


def _sum(told: dict[str, Any]) -> Sum:
    line = {name: told[name] for name in ("day", "tenant", "key", "model", "requests")}
    return Sum(**line, input=told["input_tokens"], output=told["output_tokens"])


@asynccontextmanager
async def set_up(folder: Path, seed: int, code: Path | None = None) -> AsyncIterator[Rig]:
    """A platform under test that runs; `code` holds the packages to run instead of ours."""
    engine = Engine(folder)
    await engine.start()
    platform = Platform(folder, engine.url, SETTINGS, code)
    try:
        await remains.prepare(platform.data)
        await platform.start()
        yield Rig(engine, platform, seed)
    finally:
        if platform.alive:
            platform.kill()
            await platform.gone()
        await engine.stop()
