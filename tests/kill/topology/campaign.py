"""Kills and pauses under load, and what came of them in numbers."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from tests.kill.rig.campaign import numbers
from tests.kill.rig.load import Work
from tests.kill.rig.processes import LOOK_EVERY_S, PATIENCE_S, until
from tests.kill.topology.oracle import Whole
from tests.kill.topology.rig import TopologyRig

PROBES = 4
MORE_THAN_ENOUGH = 1_000  # tokens
IN_HAND_S = 1.0  # in which a message comes to its function
UNHEARD_S = 1.0  # in which a function stores what it has in hand
SETTLED_S = 2.0

Strike = Callable[[TopologyRig], Awaitable[None]]


async def router(rig: TopologyRig) -> None:
    """Clients read tokens when the router dies."""
    await rig.engine.hold("after_tokens", 3)
    probes = rig.load.probe(streams=PROBES, tokens=MORE_THAN_ENOUGH)
    await until(lambda: all(call.tokens >= 3 for call in probes), "clients see tokens")
    before = rig.kill_part("router", rig.load.in_flight)
    await rig.engine.release()
    await rig.platform.back("router", before)


async def dispatcher(rig: TopologyRig) -> None:
    """Queued requests run when the dispatcher dies."""
    await rig.engine.hold("after_tokens", 3)
    rig.load.begin(Work(queued=PROBES, synchronous=0))
    async with asyncio.timeout(PATIENCE_S):
        while not await rig.engine.held():
            await asyncio.sleep(LOOK_EVERY_S)
    before = rig.kill_part("dispatcher")
    await rig.engine.release()
    await rig.platform.back("dispatcher", before)


def function(name: str, *, worker: bool) -> Strike:
    """A function dies under load: its worker, or the process above it."""

    async def strike(rig: TopologyRig) -> None:
        before = rig.kill_part(name, worker=worker)
        await rig.platform.back(name, before)

    strike.__name__ = f"{name}, its worker" if worker else name
    return strike


def unheard(name: str, *, worker: bool) -> Strike:
    """A function has stored what it had in hand, cannot say so while Pub/Sub is paused, and dies."""

    async def strike(rig: TopologyRig) -> None:
        with ExitStack() as pubsub_paused:
            with rig.platform.paused("firestore"):  # what is pushed meanwhile stays in hand
                await asyncio.sleep(IN_HAND_S)
                pubsub_paused.enter_context(rig.platform.paused("pubsub"))
                since = time.time()
            await asyncio.sleep(UNHEARD_S)
            before = rig.kill_part(name, worker=worker, still_since=since)
        await rig.platform.back(name, before)

    strike.__name__ = f"{function(name, worker=worker).__name__}, unheard"
    return strike


async def heard_again(rig: TopologyRig) -> None:
    """The request function dies between what it stored of messages and what it says of them."""
    rig.load.begin(Work(queued=4, synchronous=0))
    await rig.load.done()  # the function has opened its stores
    await asyncio.sleep(SETTLED_S)
    strike = asyncio.create_task(unheard("request", worker=True)(rig))
    for _ in range(4):
        rig.load.publish()
    await strike


KILLS: tuple[Strike, ...] = (
    router,
    dispatcher,
    unheard("request", worker=True),
    function("routing", worker=False),
    function("metering", worker=True),
    function("caching", worker=False),
    router,
    dispatcher,
    function("request", worker=False),
    unheard("routing", worker=True),
    unheard("metering", worker=False),
    function("autoscale", worker=False),
    function("backup", worker=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is asked, how many kills there are, and how long each emulator is paused how often."""

    work: Work
    kills: int
    pauses: int
    pause_s: float

    def strikes(self) -> list[Strike]:
        """All that is done, in its order."""
        pauses = [self._pause(name) for _ in range(self.pauses) for name in ("firestore", "pubsub")]
        return [*islice(cycle(KILLS), self.kills), *pauses]

    def _pause(self, emulator: str) -> Strike:
        async def strike(rig: TopologyRig) -> None:
            with rig.platform.paused(emulator):
                await asyncio.sleep(self.pause_s)

        strike.__name__ = f"{emulator} paused"
        return strike


CI = Size(work=Work(queued=40, synchronous=20), kills=6, pauses=1, pause_s=5.0)
SOAK = Size(work=Work(queued=200, synchronous=100), kills=20, pauses=2, pause_s=15.0)


@dataclass
class Campaign:
    """One run."""

    rig: TopologyRig
    size: Size
    say: Callable[[str], None]
    strikes: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        """Strikes one after the other, each under its share of the load, in an order the seed decides."""
        rig, plan = self.rig, self.size.strikes()
        rig.dice.shuffle(plan)
        for number, strike in enumerate(plan):
            rig.load.begin(self._share(number, len(plan)))
            await asyncio.sleep(rig.dice.uniform(0.1, 0.6))
            await strike(rig)
            await rig.load.done()
            self.strikes[strike.__name__] += 1
            self.say(self._progress(strike.__name__))

    def _share(self, number: int, of: int) -> Work:
        """The work in as many parts; the first ones are larger where it does not come out even."""
        work = self.size.work
        return Work(
            queued=work.queued // of + (number < work.queued % of),
            synchronous=work.synchronous // of + (number < work.synchronous % of),
        )

    def _progress(self, name: str) -> str:
        load = self.rig.load
        return (
            f"{time.strftime('%H:%M:%S')} {name}; {self.strikes.total()} strikes, "
            f"{len(load.acknowledged)} queued, {len(load.calls)} synchronous"
        )

    def summary(self, whole: Whole) -> dict[str, Any]:
        """What is worth keeping of it."""
        return {
            "strikes": dict(sorted(self.strikes.items())),
            "kills": len(whole.facts.kills),
            "delivered_again": len(whole.announced) - len(set(whole.announced)),
            **numbers(whole.facts),
        }
