import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import msgspec
import pytest

from events.usage import Settled, UsageRecorded
from events.words import Invalid, Usage
from functions.metering.bill import increments
from functions.metering.handler import Settlement
from functions.metering.settlement import Open, Standing
from services.adapters.firestore.documents import Query
from services.adapters.firestore.indexes import PARTS, STANDINGS, USAGE
from services.adapters.firestore.ledger import FirestoreUsageLedger
from tests.cloud.firestore.opening import watched_database
from tests.contracts.adapters import START, Clock
from tests.contracts.test_ledger import PRODUCER, completed, page, started

pytestmark = pytest.mark.anyio

SAME = ("attempt", "request", "tenant", "key", "model", "backend", "at")


@pytest.fixture
async def database() -> AsyncIterator[Any]:
    async with watched_database() as (opened, _):
        yield opened


@pytest.fixture
def ledger(database: Any, clock: Clock) -> FirestoreUsageLedger:
    return FirestoreUsageLedger(database, clock, shards=4)


async def append(ledger: FirestoreUsageLedger, page_id: str, content: UsageRecorded) -> bool:
    sums = increments(content.records)
    return await ledger.append(page_id, msgspec.json.encode(content), content.producer, sums)


async def test_sums_are_exact_whoever_appends_at_once_and_again(
    ledger: FirestoreUsageLedger, database: Any
) -> None:
    pages = [f"p{number % 60}" for number in range(100)]
    Random(7).shuffle(pages)
    counted = await asyncio.gather(*(append(ledger, name, page(completed(f"{name}.1"))) for name in pages))
    (total,) = await ledger.usage()

    assert sum(counted) == 60
    assert total.requests == 60
    assert total.usage == Usage(input=600, output=300, cached=120, reasoning=60)
    assert len(await database.find(Query(collection=USAGE, fields=()))) == 4


async def test_of_settlements_at_once_one_takes_place(ledger: FirestoreUsageLedger) -> None:
    async def settle(number: int) -> int:
        rows = page(completed(f"{number}.1"))
        settlement = Settlement(
            producer=PRODUCER,
            folded=(),
            standing=None,
            page_id=f"est{number}",
            page=rows,
            increments=increments(rows.records),
        )
        return await ledger.settle(settlement, 0)

    ended = await asyncio.gather(*(settle(number) for number in range(8)), return_exceptions=True)
    (total,) = await ledger.usage()

    assert [one for one in ended if one == 1] == [1]
    assert total.requests == 1


def crowd(number: int) -> Standing:
    """What a process leaves that dies with many attempts open; ids do not pack well."""
    random = Random(number)
    attempts = [f"{random.getrandbits(128):032x}.1" for _ in range(number)]
    return Standing(
        producer=PRODUCER, open={name: Open(started=started(name), seen_at=START) for name in attempts}
    )


async def test_a_standing_larger_than_a_document_is_kept_in_parts(
    ledger: FirestoreUsageLedger, database: Any
) -> None:
    large, larger = crowd(20_000), crowd(30_000)
    versions = [0]
    for standing in (large, larger, crowd(1)):
        settlement = Settlement(producer=PRODUCER, folded=(), standing=standing)
        versions.append(await ledger.settle(settlement, versions[-1]))
        assert await ledger.standing(PRODUCER) == (standing, versions[-1])

    left = await database.find(Query(collection=PARTS, under=f"{STANDINGS}/{PRODUCER}", fields=()))
    assert versions == [0, 1, 2, 3]
    assert left == []


async def test_bill_rows_that_fill_more_than_a_document_are_one_page(ledger: FirestoreUsageLedger) -> None:
    silent = crowd(20_000).open.values()
    rows = tuple(
        Settled(
            id=f"est:{known.started.attempt}",
            usage=Usage(input=7),
            billed=True,
            **{name: getattr(known.started, name) for name in SAME},
        )
        for known in silent
    )
    content = page(*rows)
    settlement = Settlement(
        producer=PRODUCER,
        folded=(),
        standing=None,
        page_id="est",
        page=content,
        increments=increments(rows),
    )
    await ledger.settle(settlement, 0)

    assert [stored.page for stored in await ledger.pages()] == [content]
    assert [total.requests for total in await ledger.usage()] == [20_000]


async def test_what_no_commit_can_hold_is_refused_with_the_limit(ledger: FirestoreUsageLedger) -> None:
    noise = b64encode(Random(1).randbytes(8_000_000)).decode()
    with pytest.raises(Invalid, match="7372800"):
        await append(ledger, "p1", page(started(noise)))
    assert await ledger.pages() == []
