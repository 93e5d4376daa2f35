import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.envelope import Event, wrap
from events.inference import InferenceRequested
from events.jobs import JobDue
from events.usage import Started, UsageRecord, UsageRecorded
from events.words import Conflict, Invalid, Usage
from functions.metering.bill import UsageSum
from functions.metering.handler import PAGES_AT_ONCE, RECORDS_AT_ONCE, Ports, Settlement, handle
from services.adapters.memory.ledger import MemoryUsageLedger
from tests.functions.metering.records import NOON, SECOND, SILENT_AFTER, completed, page, progress, started

pytestmark = pytest.mark.anyio


class NoCounts:
    async def of(self, attempts: Collection[str]) -> Mapping[str, Usage]:
        return {}


class World:
    """A ledger and a clock, and the two events the metering function consumes."""

    def __init__(self, ledger: type[MemoryUsageLedger] = MemoryUsageLedger) -> None:
        self.now = NOON
        self.ledger = ledger(lambda: self.now)
        self.ports = Ports(ledger=self.ledger, counts=NoCounts(), silent_after_s=SILENT_AFTER.total_seconds())

    async def hear(self, event: Event, id: str = "1") -> None:
        assert [] == list(await handle(wrap(event, id=id, source="/router", time=self.now), self.ports))

    async def sweep(self, after_s: float = 0) -> None:
        self.now += after_s * SECOND
        await self.hear(JobDue(job="settle-usage", slot=self.now))

    async def sums(self) -> list[UsageSum]:
        """What is billed; lines whose rows cancel each other out say nothing."""
        found = await self.ledger.usage()
        return [s for s in found if (s.requests, s.usage, s.estimated) != (0, Usage(), 0)]


@pytest.fixture
def world() -> World:
    return World()


async def test_a_page_counts_once_however_often_it_comes(world: World) -> None:
    for _ in range(3):
        await world.hear(page(started(), completed()), id="page-1")
    (total,) = await world.sums()
    assert (1, Usage(input=10, output=20)) == (total.requests, total.usage)


async def test_a_silent_attempt_is_settled_by_the_sweep(world: World) -> None:
    await world.hear(page(started()))
    await world.sweep(after_s=31)
    (total,) = await world.sums()
    assert (1, Usage(input=7), 7) == (total.requests, total.usage, total.estimated)


async def test_a_sweep_settles_once_however_often_it_runs(world: World) -> None:
    await world.hear(page(started()))
    for _ in range(3):
        await world.sweep(after_s=31)
    (total,) = await world.sums()
    assert 1 == total.requests


async def test_a_late_completion_replaces_its_estimate(world: World) -> None:
    await world.hear(page(started()), id="1")
    await world.sweep(after_s=31)
    await world.hear(page(completed()), id="2")
    await world.sweep()
    (total,) = await world.sums()
    assert (1, Usage(input=10, output=20), 0) == (total.requests, total.usage, total.estimated)


async def test_a_producer_is_forgotten_once_nothing_of_it_is_open(world: World) -> None:
    await world.hear(page(started(), completed()))
    assert ["p"] == list(await world.ledger.producers())
    await world.sweep()
    assert [] == list(await world.ledger.producers())


async def test_producers_are_settled_each_for_itself(world: World) -> None:
    await world.hear(page(started("a"), producer="p"), id="1")
    await world.hear(page(started("b"), completed("b"), producer="q"), id="2")
    await world.sweep(after_s=31)
    (total,) = await world.sums()
    assert (2, Usage(input=17, output=20), 7) == (total.requests, total.usage, total.estimated)


async def test_more_pages_than_one_step_takes_are_all_folded(world: World) -> None:
    attempts = [f"a{number}" for number in range(2 * PAGES_AT_ONCE + 1)]
    for attempt in attempts:
        await world.hear(page(started(attempt)), id=f"s{attempt}")
    for attempt in attempts[:-1]:
        await world.hear(page(completed(attempt)), id=f"c{attempt}")
    await world.sweep(after_s=31)
    (total,) = await world.sums()
    assert (len(attempts), 7) == (total.requests, total.estimated)
    assert [] == list(await world.ledger.unfolded("p", 1))


async def test_a_sweep_of_many_records_lets_others_have_their_turn(world: World) -> None:
    turns = 0

    async def serves() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    for number in range(3):
        attempts = (f"{number}.{attempt}" for attempt in range(RECORDS_AT_ONCE))
        await world.hear(page(*map(started, attempts)), id=str(number))
    other = asyncio.create_task(serves())
    await world.sweep()
    other.cancel()

    assert 3 <= turns


class CountsOf:
    def __init__(self, **usage: Usage) -> None:
        self._usage = usage
        self.asked: list[str] = []

    async def of(self, attempts: Collection[str]) -> Mapping[str, Usage]:
        self.asked.extend(attempts)
        return {attempt: usage for attempt, usage in self._usage.items() if attempt in attempts}


async def test_agents_are_asked_only_for_what_fell_silent() -> None:
    world, counts = World(), CountsOf(a=Usage(input=9, output=9))
    world.ports = Ports(ledger=world.ledger, counts=counts, silent_after_s=30)
    await world.hear(page(started("a")), id="1")
    world.now += 31 * SECOND
    await world.hear(page(started("b")), id="2")
    await world.sweep()
    (total,) = await world.sums()
    assert ["a"] == counts.asked
    assert Usage(input=9, output=9) == total.usage


class Contended(MemoryUsageLedger):
    """A ledger whose first settlement finds that another sweep was faster."""

    contended = True

    async def settle(self, settlement: Settlement, version: int) -> int:
        if self.contended and settlement.page is not None:
            self.contended = False
            await super().settle(settlement, version)
        return await super().settle(settlement, version)


async def test_of_two_sweeps_at_once_one_settles() -> None:
    world = World(Contended)
    await world.hear(page(started()))
    with pytest.raises(Conflict):
        await world.sweep(after_s=31)
    await world.sweep()
    (total,) = await world.sums()
    assert 1 == total.requests


@pytest.mark.parametrize(
    "event",
    [
        JobDue(job="sweep-requests", slot=NOON),
        InferenceRequested(request_id="r", tenant="acme", model="gemma", lane="batch"),
    ],
)
async def test_another_event_is_not_for_this_function(world: World, event: Event) -> None:
    with pytest.raises(Invalid, match="metering"):
        await world.hear(event)


# Any arrival: pages come late, twice and in any order, and sweeps run between them.


class Delivery(msgspec.Struct, frozen=True):
    """A page that arrives."""

    id: str
    page: UsageRecorded


class Pause(msgspec.Struct, frozen=True):
    """Time passes, then a sweep runs."""

    seconds: int


Step = Delivery | Pause


@st.composite
def lives(draw: st.DrawFn, *, completing: bool) -> list[UsageRecord]:
    """The records of a few attempts, which all complete or all fall silent."""
    records: list[UsageRecord] = []
    for number in range(draw(st.integers(1, 4))):
        attempt, queued = f"a{number}", draw(st.booleans())
        records.append(started(attempt, queued=queued, tenant=f"tenant-{number % 2}", estimate=number + 1))
        records += [progress(attempt, output=count) for count in range(draw(st.integers(0, 2)))]
        if completing:
            usage = Usage(input=draw(st.integers(0, 99)), output=draw(st.integers(0, 99)))
            ended: dict[str, Any] = {"usage": usage, "billed": not queued or draw(st.booleans())}
            records.append(completed(attempt, tenant=f"tenant-{number % 2}", **ended))
    return records


@st.composite
def arrivals(draw: st.DrawFn, records: list[UsageRecord]) -> list[Step]:
    """The records in pages, each page at least once, with sweeps between."""
    shuffled = draw(st.permutations(records))
    cuts = sorted(draw(st.sets(st.integers(1, len(records)), max_size=6)) | {len(records)})
    pages = [
        Delivery(str(end), page(*shuffled[begin:end])) for begin, end in zip([0, *cuts], cuts, strict=False)
    ]
    again = draw(st.lists(st.sampled_from(pages), max_size=4))
    pauses = draw(st.lists(st.builds(Pause, st.integers(0, 60)), max_size=6))
    return draw(st.permutations([*pages, *again, *pauses]))


async def live(steps: list[Step]) -> World:
    world = World()
    for step in steps:
        if isinstance(step, Pause):
            await world.sweep(after_s=step.seconds)
        else:
            await world.hear(step.page, id=step.id)
    await world.sweep(after_s=31)
    return world


@given(st.data())
def test_however_pages_arrive_completed_attempts_are_billed_as_if_nothing_had_happened(
    data: st.DataObject,
) -> None:
    records = data.draw(lives(completing=True))
    steps = data.draw(arrivals(records))

    async def both() -> None:
        calm = await live([Delivery("all", page(*records))])
        disturbed = await live(steps)
        assert await calm.sums() == await disturbed.sums()
        assert [] == list(await disturbed.ledger.producers())

    asyncio.run(both())


@given(st.data())
def test_however_pages_arrive_a_silent_attempt_is_billed_once_as_an_estimate(data: st.DataObject) -> None:
    records = data.draw(lives(completing=False))
    steps = data.draw(arrivals(records))

    async def check() -> None:
        sums = await (await live(steps)).sums()
        direct = sum(1 for record in records if isinstance(record, Started) and not record.queued)
        assert direct == sum(total.requests for total in sums)
        assert all(total.estimated == total.usage.input + total.usage.output for total in sums)

    asyncio.run(check())
