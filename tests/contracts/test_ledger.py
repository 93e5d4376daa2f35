from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.usage import Completed, Started, UsageRecord, UsageRecorded
from events.words import Conflict, Usage
from functions.metering.bill import Increment, Line, UsageSum, increments
from functions.metering.handler import Ports, Settlement, sweep
from functions.metering.settlement import Open, Standing, StoredPage
from tests.contracts.adapters import LEDGERS, START, Clock, Ledger, Opener
from tests.support.examples import at_most

pytestmark = pytest.mark.anyio

PRODUCER = "router-1"


def started(attempt: str = "a.1") -> Started:
    return Started(
        attempt=attempt,
        request=attempt.partition(".")[0],
        tenant="acme",
        key="k1",
        model="gemma",
        backend="pool",
        at=START,
        estimate=7,
    )


def completed(attempt: str = "a.1", **fields: object) -> Completed:
    record = Completed(
        attempt=attempt,
        request=attempt.partition(".")[0],
        tenant="acme",
        key="k1",
        model="gemma",
        backend="pool",
        at=START,
        outcome="finished",
        usage=Usage(input=10, output=5, cached=2, reasoning=1),
        billed=True,
    )
    return msgspec.structs.replace(record, **fields)


def page(*records: UsageRecord, producer: str = PRODUCER) -> UsageRecorded:
    return UsageRecorded(producer=producer, records=records)


async def append(ledger: Ledger, page_id: str, content: UsageRecorded) -> bool:
    sums = increments(content.records)
    return await ledger.append(page_id, msgspec.json.encode(content), content.producer, sums)


def lines(sums: Sequence[UsageSum]) -> list[str]:
    return [f"{total.line.tenant} {total.line.day}" for total in sums]


def standing_with(*attempts: str) -> Standing:
    opened = {attempt: Open(started=started(attempt), seen_at=START) for attempt in attempts}
    return Standing(producer=PRODUCER, open=opened)


async def test_an_empty_ledger_knows_nothing(ledger: Ledger) -> None:
    assert await ledger.producers() == []
    assert await ledger.usage() == []
    assert await ledger.pages() == []
    assert await ledger.unfolded(PRODUCER, 10) == []
    assert await ledger.standing(PRODUCER) == (Standing(producer=PRODUCER), 0)


async def test_a_page_is_kept_as_it_came_with_the_time_of_the_store(ledger: Ledger, clock: Clock) -> None:
    content = page(started(), completed())
    clock.forward(1.5)

    assert await append(ledger, "p1", content)
    expected = [StoredPage(id="p1", stored_at=START + timedelta(seconds=1.5), page=content)]
    assert await ledger.unfolded(PRODUCER, 10) == expected
    assert await ledger.pages() == expected
    assert await ledger.producers() == [PRODUCER]


async def test_a_page_counts_once(ledger: Ledger) -> None:
    assert await append(ledger, "p1", page(completed()))
    assert not await append(ledger, "p1", page(completed()))
    assert not await append(ledger, "p1", page(completed("other.1"), producer="other"))

    (total,) = await ledger.usage()
    assert (total.requests, total.usage) == (1, completed().usage)
    assert len(await ledger.pages()) == 1


async def test_sums_are_kept_apart_by_tenant_key_model_and_day(ledger: Ledger) -> None:
    other_day = START + timedelta(days=1)
    await append(ledger, "p1", page(completed(), completed("b.1"), completed("c.1", tenant="zeta")))
    await append(ledger, "p2", page(completed("d.1", key="k2"), completed("e.1", model="gemini")))
    await append(ledger, "p3", page(completed("f.1", at=other_day), completed("g.1", estimated="usage")))
    line = {"tenant": "acme", "key": "k1", "model": "gemma", "day": "2027-03-01"}

    assert [(total.line, total.requests, total.estimated) for total in await ledger.usage()] == [
        (Line(**line | {"model": "gemini"}), 1, 0),
        (Line(**line), 3, 15),
        (Line(**line | {"key": "k2"}), 1, 0),
        (Line(**line | {"tenant": "zeta"}), 1, 0),
        (Line(**line | {"day": "2027-03-02"}), 1, 0),
    ]


async def test_usage_can_be_asked_for_in_part(ledger: Ledger) -> None:
    days = [START + timedelta(days=n) for n in range(3)]
    await append(ledger, "p1", page(*(completed(f"{n}.1", at=day) for n, day in enumerate(days))))
    await append(ledger, "p2", page(completed("z.1", tenant="zeta", key="k2", model="gemini")))

    assert lines(await ledger.usage(since=date(2027, 3, 2))) == ["acme 2027-03-02", "acme 2027-03-03"]
    assert lines(await ledger.usage(until=date(2027, 3, 1))) == ["acme 2027-03-01", "zeta 2027-03-01"]
    second = date(2027, 3, 2)
    assert lines(await ledger.usage(since=second, until=second)) == ["acme 2027-03-02"]
    assert lines(await ledger.usage(tenant="zeta")) == ["zeta 2027-03-01"]
    assert lines(await ledger.usage(key="k2")) == ["zeta 2027-03-01"]
    assert lines(await ledger.usage(model="gemini")) == ["zeta 2027-03-01"]
    assert lines(await ledger.usage(tenant="zeta", key="k1")) == []


async def test_pages_are_listed_in_their_order_a_few_at_a_time(ledger: Ledger) -> None:
    for number in range(5):
        producer = "odd" if number % 2 else "even"
        await append(ledger, f"p{number}", page(started(f"{number}.1"), producer=producer))

    async def found(producer: str | None = None, limit: int = 100, after: str = "") -> list[str]:
        return [stored.id for stored in await ledger.pages(producer, limit, after)]

    assert await found() == ["p0", "p1", "p2", "p3", "p4"]
    assert await found(limit=2) == ["p0", "p1"]
    assert await found(limit=2, after="p1") == ["p2", "p3"]
    assert await found("even", after="p1") == ["p2", "p4"]
    assert await found("odd", limit=1) == ["p1"]
    assert await found(after="p4") == []


async def test_the_oldest_unfolded_pages_of_a_producer_come_first(ledger: Ledger) -> None:
    for number in range(3):
        await append(ledger, f"p{number}", page(started(f"{number}.1")))
    await append(ledger, "q", page(started("q.1"), producer="other"))

    assert [stored.id for stored in await ledger.unfolded(PRODUCER, 2)] == ["p0", "p1"]
    assert sorted(await ledger.producers()) == ["other", PRODUCER]


async def test_settling_folds_pages_and_remembers_the_standing(ledger: Ledger) -> None:
    await append(ledger, "p1", page(started()))
    await append(ledger, "p2", page(started("b.1")))
    settlement = Settlement(producer=PRODUCER, folded=("p1",), standing=standing_with("a.1"))

    assert await ledger.settle(settlement, 0) == 1
    assert await ledger.standing(PRODUCER) == (standing_with("a.1"), 1)
    assert [stored.id for stored in await ledger.unfolded(PRODUCER, 10)] == ["p2"]
    assert len(await ledger.pages()) == 2


async def test_a_producer_is_listed_while_it_has_pages_or_a_standing(ledger: Ledger) -> None:
    await append(ledger, "p1", page(started()))
    remembered = Settlement(producer=PRODUCER, folded=("p1",), standing=standing_with("a.1"))
    version = await ledger.settle(remembered, 0)

    assert await ledger.producers() == [PRODUCER]
    await ledger.settle(Settlement(producer=PRODUCER, folded=(), standing=None), version)
    assert await ledger.producers() == []


async def test_a_version_grows_on_when_there_is_nothing_to_remember(ledger: Ledger) -> None:
    nothing = Settlement(producer=PRODUCER, folded=(), standing=None)

    assert [await ledger.settle(nothing, version) for version in range(3)] == [1, 2, 3]
    assert await ledger.standing(PRODUCER) == (Standing(producer=PRODUCER), 3)


async def test_a_settlement_on_an_old_version_changes_nothing(ledger: Ledger) -> None:
    await append(ledger, "p1", page(started()))
    row = page(completed())
    stale = Settlement(
        producer=PRODUCER,
        folded=("p1",),
        standing=standing_with("b.1"),
        page_id="est",
        page=row,
        increments=increments(row.records),
    )
    await ledger.settle(Settlement(producer=PRODUCER, folded=(), standing=standing_with("a.1")), 0)

    for version in (0, 2):
        with pytest.raises(Conflict, match=PRODUCER):
            await ledger.settle(stale, version)
    assert await ledger.standing(PRODUCER) == (standing_with("a.1"), 1)
    assert [stored.id for stored in await ledger.unfolded(PRODUCER, 10)] == ["p1"]
    assert await ledger.usage() == []


async def test_settled_rows_are_a_page_that_counts_and_is_never_folded(ledger: Ledger) -> None:
    rows = page(completed())
    settlement = Settlement(
        producer=PRODUCER,
        folded=(),
        standing=None,
        page_id="est",
        page=rows,
        increments=increments(rows.records),
    )
    version = await ledger.settle(settlement, 0)
    await ledger.settle(settlement, version)

    assert [total.usage for total in await ledger.usage()] == [completed().usage]
    assert [stored.page for stored in await ledger.pages()] == [rows]
    assert await ledger.unfolded(PRODUCER, 10) == []
    assert await ledger.producers() == []


class NoCounts:
    """No agent counts anything."""

    async def of(self, attempts: object) -> Mapping[str, Usage]:
        return {}


ATTEMPTS = st.sampled_from(["a.1", "b.1", "c.1", "d.1"])
RECORDS = st.one_of(
    ATTEMPTS.map(started),
    st.builds(
        completed,
        ATTEMPTS,
        tenant=st.sampled_from(["acme", "zeta"]),
        at=st.sampled_from([START, START + timedelta(days=1)]),
        usage=st.builds(Usage, input=st.integers(0, 9), output=st.integers(0, 9)),
        billed=st.booleans(),
        estimated=st.sampled_from([None, "input", "usage"]),
    ),
)
PAGES = st.tuples(st.integers(0, 9), st.lists(RECORDS, min_size=1, max_size=4))


def sums_over(pages: Sequence[StoredPage]) -> dict[Line, Increment]:
    found = increments(record for stored in pages for record in stored.page.records)
    return {increment.line: increment for increment in found}


def as_increment(total: UsageSum) -> Increment:
    return msgspec.convert(total, Increment, from_attributes=True)


@pytest.mark.parametrize("open_ledger", LEDGERS.values(), ids=list(LEDGERS))
@at_most(30)
@given(steps=st.lists(st.one_of(PAGES, st.just(None)), max_size=12))
async def test_sums_are_the_sums_over_the_pages_whatever_is_repeated_and_swept(
    open_ledger: Opener[Ledger], steps: list[tuple[int, list[UsageRecord]] | None]
) -> None:
    clock, numbers = Clock(), count()
    with TemporaryDirectory() as folder:
        async with open_ledger(Path(folder), clock) as ledger:
            ports = Ports(ledger=ledger, counts=NoCounts(), silent_after_s=30)
            for step in steps:
                if step is None:
                    await sweep(PRODUCER, clock.forward(20), ports)
                else:
                    await append(ledger, f"p{step[0]}-{next(numbers) % 3}", page(*step[1]))
            await sweep(PRODUCER, clock.forward(60), ports)
            total = {found.line: as_increment(found) for found in await ledger.usage()}

            assert sums_over(await ledger.pages()) == total
            assert await ledger.unfolded(PRODUCER, 10) == []
