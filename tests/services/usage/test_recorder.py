"""Usage records leave in pages: soon where somebody waits, together where nobody does, and never twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from events.usage import Progress, Started
from events.words import Usage
from services.usage.recorder import MAX_RECORDS, REFUSE, SERVE, Lingers, Spool, UsageRecorder
from tests.support.client import PATIENCE_S
from tests.support.clock import now
from tests.support.routing import Tap

pytestmark = pytest.mark.anyio

LONG = Lingers(started_s=60, other_s=60)
SHORT = Lingers(started_s=0.001, other_s=0.001)


@dataclass(slots=True)
class Waiting:
    """A `Waiter` that remembers what it heard."""

    heard: list[str] = field(default_factory=list)
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def durable(self) -> None:
        self._tell("durable")

    def not_durable(self) -> None:
        self._tell("not durable")

    def _tell(self, what: str) -> None:
        self.heard.append(what)
        self._told.set()

    async def news(self) -> str:
        async with asyncio.timeout(PATIENCE_S):
            await self._told.wait()
        (only,) = self.heard
        return only


def started(attempt: str = "req_1.1") -> Started:
    return Started(
        attempt=attempt,
        request="req_1",
        tenant="acme",
        key="key_1",
        model="gemma",
        backend="pool",
        at=now(),
        estimate=5,
    )


def progress(attempt: str = "req_1.1") -> Progress:
    return Progress(attempt=attempt, at=now(), usage=Usage(input=1, output=1))


@asynccontextmanager
async def recording(lingers: Lingers, spool: Spool = REFUSE) -> AsyncIterator[tuple[UsageRecorder, Tap]]:
    tap = Tap()
    recorder = UsageRecorder(tap, producer="p", source="/test", lingers=lingers, now=now, spool=spool)
    yield recorder, tap
    tap.broken = False
    tap.open()
    await recorder.close()


async def test_a_start_is_told_durable_once_its_page_is_published() -> None:
    async with recording(SHORT) as (recorder, tap):
        tap.close()
        waiter, record = Waiting(), started()
        assert recorder.durably(record, waiter)
        await asyncio.sleep(0.02)
        assert [] == waiter.heard
        tap.open()

        assert "durable" == await waiter.news()
        assert [record] == tap.records
        assert "p" == tap.pages[0].producer


async def test_records_of_a_while_share_a_page() -> None:
    async with recording(Lingers(started_s=0.02, other_s=0.02)) as (recorder, tap):
        for number in range(10):
            recorder.add(progress(str(number)))
        await tap.has(10)

        assert [10] == [len(page.records) for page in tap.pages]


async def test_a_start_takes_along_what_waits_longer() -> None:
    async with recording(Lingers(started_s=0.001, other_s=60)) as (recorder, tap):
        recorder.add(progress())
        recorder.durably(started(), Waiting())

        assert 2 == len(await tap.has(2))


async def test_whoever_is_in_a_hurry_does_not_linger() -> None:
    async with recording(LONG) as (recorder, _):
        waiter = Waiting()
        recorder.durably(started(), waiter)
        recorder.hurry()

        assert "durable" == await waiter.news()


async def test_hurry_publishes_nothing_nobody_waits_for() -> None:
    async with recording(LONG) as (recorder, tap):
        recorder.add(progress())
        recorder.hurry()
        await asyncio.sleep(0.01)

        assert 0 == tap.tried


async def test_a_full_page_does_not_linger() -> None:
    async with recording(LONG) as (recorder, tap):
        for number in range(MAX_RECORDS):
            recorder.add(progress(str(number)))

        assert MAX_RECORDS == len(await tap.has(MAX_RECORDS))


async def test_no_page_is_larger_than_a_page_though_many_records_waited() -> None:
    async with recording(SHORT) as (recorder, tap):
        tap.close()
        recorder.add(progress("first"))
        await asyncio.sleep(0.01)
        for number in range(3 * MAX_RECORDS):
            recorder.add(progress(str(number)))
        tap.open()
        records = await tap.has(3 * MAX_RECORDS + 1)

        assert ["first", *map(str, range(3 * MAX_RECORDS))] == [
            record.attempt for record in records if isinstance(record, Progress)
        ]
        assert all(len(page.records) <= MAX_RECORDS for page in tap.pages)


async def test_only_so_many_pages_are_on_their_way_at_once() -> None:
    async with recording(SHORT) as (recorder, tap):
        tap.close()
        for number in range(5):
            recorder.add(progress(str(number)))
            await asyncio.sleep(0.01)

        assert 1 == tap.tried


async def test_a_bus_that_fails_is_told_to_those_who_wait_and_its_page_kept() -> None:
    async with recording(SHORT) as (recorder, tap):
        tap.broken = True
        waiter, record = Waiting(), started()
        recorder.durably(record, waiter)
        assert "not durable" == await waiter.news()
        assert recorder.failing
        tap.broken = False

        assert [record] == await tap.has(1)
        assert ["not durable"] == waiter.heard


async def test_a_start_taken_while_an_earlier_page_fails_does_not_wait_for_ever() -> None:
    async with recording(SHORT) as (recorder, tap):
        tap.close()
        recorder.add(progress())
        await asyncio.sleep(0.01)
        waiter = Waiting()
        assert recorder.durably(started(), waiter)
        tap.broken = True
        tap.open()
        assert "not durable" == await waiter.news()
        tap.broken = False

        assert 2 == len(await tap.has(2))
        assert ["not durable"] == waiter.heard


async def test_a_page_keeps_its_id_and_content_however_often_it_is_tried() -> None:
    async with recording(SHORT) as (recorder, tap):
        tap.broken = True
        recorder.durably(started("a"), Waiting())
        async with asyncio.timeout(PATIENCE_S):
            while tap.tried < 3:
                await asyncio.sleep(0.01)
        recorder.add(progress("b"))
        tap.broken = False
        await tap.has(2)

        assert [1, 1] == [len(page.records) for page in tap.pages]
        assert 2 == len(set(tap.ids))


async def test_while_the_bus_fails_no_start_is_taken() -> None:
    async with recording(SHORT) as (recorder, tap):
        tap.broken = True
        recorder.durably(started(), waiter := Waiting())
        await waiter.news()
        late = Waiting()

        assert not recorder.durably(started("late"), late)
        await asyncio.sleep(0.01)
        assert [] == late.heard


@pytest.mark.parametrize("open_already", [True, False], ids=["on its way", "begun later"])
async def test_while_the_bus_fails_a_spool_serves_and_nothing_of_it_is_lost(open_already: bool) -> None:
    async with recording(SHORT, SERVE) as (recorder, tap):
        tap.broken = True
        first = Waiting()
        recorder.durably(started("first"), first)
        await first.news()
        second = Waiting()
        if not open_already:
            assert recorder.durably(started("second"), second)
            await second.news()
        assert ["durable"] == first.heard
        assert open_already or ["durable"] == second.heard
        assert [] == tap.records
        tap.broken = False

        assert 2 - open_already == len(await tap.has(2 - open_already))


@pytest.mark.parametrize("spool", [Spool(serve_s=0.05), Spool(serve_s=60, records=0)], ids=["time", "room"])
async def test_a_spool_has_an_end(spool: Spool) -> None:
    async with recording(SHORT, spool) as (recorder, tap):
        tap.broken = True
        recorder.durably(started(), first := Waiting())
        await first.news()
        await asyncio.sleep(0.06)

        assert not recorder.durably(started("late"), Waiting())


async def test_closing_gives_up_where_the_bus_stays_away() -> None:
    async with recording(SHORT) as (recorder, tap):
        tap.broken = True
        recorder.add(progress("sealed"))
        await asyncio.sleep(0.01)
        recorder.add(progress("not sealed"))
        async with asyncio.timeout(PATIENCE_S):
            await recorder.close(0.05)
        tap.broken = False
        await recorder.close()

        assert [] == tap.records


async def test_closing_publishes_what_is_left() -> None:
    async with recording(LONG) as (recorder, tap):
        waiter = Waiting()
        recorder.durably(started(), waiter)
        recorder.add(progress())
        await recorder.close()

        assert 2 == len(tap.records)
        assert ["durable"] == waiter.heard
