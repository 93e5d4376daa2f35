"""Where pages cost money, starts go apart from the rest, and those in a hurry do not make pages many."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from events.usage import Progress, Started
from services.usage.apart import ENOUGH, StartsApart
from services.usage.recorder import REFUSE, SERVE, Lingers, Spool
from tests.services.usage.test_recorder import Waiting, progress, started
from tests.support.clock import now
from tests.support.routing import Tap

pytestmark = pytest.mark.anyio

LONG = Lingers(started_s=60, other_s=60, pages_in_flight=4, apart=True)
SHORT = Lingers(started_s=0.001, other_s=0.001, apart=True)


@asynccontextmanager
async def recording(lingers: Lingers, spool: Spool = REFUSE) -> AsyncIterator[tuple[StartsApart, Tap]]:
    tap = Tap()
    recorder = StartsApart(tap, producer="p", source="/test", lingers=lingers, now=now, spool=spool)
    yield recorder, tap
    tap.broken = False
    tap.open()
    await recorder.close()


async def test_a_start_that_leaves_takes_nothing_else_along() -> None:
    async with recording(LONG) as (recorder, tap):
        waiter, record = Waiting(), started()
        recorder.add(progress())
        recorder.durably(record, waiter)
        recorder.hurry()

        assert "durable" == await waiter.news()
        assert [record] == tap.records


async def test_the_rest_leaves_without_a_start() -> None:
    async with recording(Lingers(started_s=60, other_s=0.001, apart=True)) as (recorder, tap):
        waiter = Waiting()
        recorder.durably(started(), waiter)
        recorder.add(progress())

        assert [Progress] == [type(record) for record in await tap.has(1)]
        assert [] == waiter.heard


async def test_all_records_are_of_one_producer() -> None:
    async with recording(SHORT) as (recorder, tap):
        recorder.durably(started(), Waiting())
        recorder.add(progress())
        await tap.has(2)

        assert ["p", "p"] == [page.producer for page in tap.pages]
        assert 2 == len(set(tap.ids))


async def test_hurry_makes_no_second_page_right_behind_the_first() -> None:
    async with recording(LONG) as (recorder, tap):
        recorder.durably(started("first"), first := Waiting())
        recorder.hurry()
        await first.news()
        later = [Waiting() for _ in range(3)]
        for number, waiter in enumerate(later):
            recorder.durably(started(str(number)), waiter)
            recorder.hurry()
        await asyncio.sleep(0.02)

        assert 1 == tap.tried
        assert all(not waiter.heard for waiter in later)


async def test_a_page_that_is_worth_it_leaves_right_behind_the_first() -> None:
    async with recording(LONG) as (recorder, tap):
        recorder.durably(started("first"), first := Waiting())
        recorder.hurry()
        await first.news()
        later = [Waiting() for _ in range(ENOUGH)]
        for number, waiter in enumerate(later):
            recorder.durably(started(str(number)), waiter)
            recorder.hurry()

        assert ["durable"] * ENOUGH == [await waiter.news() for waiter in later]
        assert [1, ENOUGH] == [len(page.records) for page in tap.pages]


async def test_whoever_hurries_behind_a_page_leaves_once_one_may() -> None:
    async with recording(Lingers(started_s=0.05, other_s=60, apart=True)) as (recorder, tap):
        recorder.durably(started("first"), first := Waiting())
        recorder.hurry()
        await first.news()
        recorder.durably(started("second"), second := Waiting())
        recorder.hurry()

        assert "durable" == await second.news()
        assert [1, 1] == [len(page.records) for page in tap.pages]


async def test_hurry_publishes_nothing_nobody_waits_for() -> None:
    async with recording(LONG) as (recorder, tap):
        recorder.add(progress())
        recorder.hurry()
        await asyncio.sleep(0.01)

        assert 0 == tap.tried


async def test_while_the_rest_is_not_taken_no_start_is() -> None:
    async with recording(SHORT) as (recorder, tap):
        tap.broken = True
        recorder.add(progress())
        async with asyncio.timeout(10):
            while not recorder.failing:
                await asyncio.sleep(0.001)

        assert recorder.refuses
        assert not recorder.durably(started(), Waiting())
        tap.broken = False
        assert 1 == len(await tap.has(1))


@pytest.mark.parametrize("breaks", ["starts", "the rest"])
async def test_while_the_bus_fails_a_spool_serves_and_nothing_of_it_is_lost(breaks: str) -> None:
    async with recording(SHORT, SERVE) as (recorder, tap):
        tap.broken = True
        if breaks == "starts":
            recorder.durably(started("0"), Waiting())
        else:
            recorder.add(progress("0"))
        async with asyncio.timeout(10):
            while not recorder.failing:
                await asyncio.sleep(0.001)
        assert not recorder.refuses
        assert recorder.durably(started("1"), waiter := Waiting())
        assert "durable" == await waiter.news()
        tap.broken = False

        assert {"0", "1"} == {record.attempt for record in await tap.has(2)}


@pytest.mark.parametrize("breaks", ["starts", "the rest"])
async def test_a_spool_has_room_for_so_many_of_both(breaks: str) -> None:
    async with recording(SHORT, Spool(serve_s=60, records=2)) as (recorder, tap):
        tap.broken = True
        if breaks == "starts":
            recorder.durably(started("0"), Waiting())
        else:
            recorder.add(progress("0"))
        async with asyncio.timeout(10):
            while not recorder.failing:
                await asyncio.sleep(0.001)
        taken = [recorder.durably(started(str(number)), Waiting()) for number in range(5)]

        assert 2 <= sum(taken) < 5
        assert not taken[-1]


async def test_closing_publishes_what_is_left_of_both() -> None:
    async with recording(LONG) as (recorder, tap):
        waiter = Waiting()
        recorder.durably(started(), waiter)
        recorder.add(progress())
        await recorder.close()

        assert {Started, Progress} == {type(record) for record in tap.records}
        assert ["durable"] == waiter.heard


async def test_closing_gives_up_where_the_bus_stays_away() -> None:
    async with recording(SHORT) as (recorder, tap):
        tap.broken = True
        recorder.durably(started(), Waiting())
        recorder.add(progress())
        await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            await recorder.close(0.05)
        tap.broken = False
        await recorder.close()

        assert [] == tap.records
