"""A journal is a row of places, each taken once: that is what keeps two writers from mixing their events."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from events.journal import Entry
from events.words import Conflict
from tests.contracts.adapters import START, Clock, Journal

pytestmark = pytest.mark.anyio

SOON = START + timedelta(seconds=10)
LATER = START + timedelta(seconds=20)


def entry(place: int, first: int, following: int, *, attempt: int = 1, request: str = "req_1") -> Entry:
    return Entry(
        request=request,
        place=place,
        attempt=attempt,
        first=first,
        next=following,
        expire_at=SOON,
        sealed=b"\x00%d\xff" % place,
    )


ROW = [entry(0, 3, 10), entry(1, 10, 12), entry(2, 12, 12, attempt=2), entry(3, 12, 20, attempt=2)]


async def fill(journal: Journal) -> None:
    for one in ROW:
        await journal.append(one)
    await journal.append(entry(0, 3, 5, request="req_2"))


async def test_entries_come_back_in_their_order_as_they_were_appended(journal: Journal) -> None:
    await fill(journal)
    closed = replace(entry(4, 20, 20), closed=True, sealed=b"", body_id="b")
    await journal.append(closed)

    assert [*ROW, closed] == await journal.read("req_1", 0, 10)
    assert ROW[1:3] == await journal.read("req_1", 1, 2)
    assert [] == await journal.read("req_1", 5, 10)
    assert [] == await journal.read("nobody", 0, 10)


@pytest.mark.parametrize(
    ("number", "place"), [(-1, 0), (3, 0), (9, 0), (10, 1), (11, 1), (12, 3), (19, 3), (20, None)]
)
async def test_a_place_is_found_by_the_numbers_of_its_events(
    journal: Journal, number: int, place: int | None
) -> None:
    await fill(journal)

    assert place == await journal.place_of("req_1", number)


async def test_a_place_is_taken_once(journal: Journal) -> None:
    await fill(journal)

    with pytest.raises(Conflict):
        await journal.append(replace(ROW[1], sealed=b"of somebody else"))
    assert ROW == await journal.read("req_1", 0, 10)


async def test_what_was_appended_may_be_appended_again(journal: Journal) -> None:
    await fill(journal)
    await journal.append(ROW[1])

    assert ROW == await journal.read("req_1", 0, 10)


async def test_an_entry_is_gone_from_the_moment_its_time_is_over(journal: Journal, clock: Clock) -> None:
    await fill(journal)

    clock.forward(9.999999)
    assert ROW == await journal.read("req_1", 0, 10)
    clock.forward(0.000001)
    assert [] == await journal.read("req_1", 0, 10)
    assert await journal.place_of("req_1", 3) is None


async def test_a_journal_is_removed_whole_and_no_other(journal: Journal) -> None:
    await fill(journal)
    await journal.remove("req_1")
    await journal.remove("nobody")

    assert [] == await journal.read("req_1", 0, 10)
    assert [0] == [one.place for one in await journal.read("req_2", 0, 10)]


async def test_forgetting_deletes_a_few_of_those_whose_time_is_over(journal: Journal) -> None:
    for place in range(3):
        await journal.append(entry(place, place, place + 1))
    await journal.append(replace(entry(3, 3, 4), expire_at=LATER))

    assert 0 == await journal.forget(START, 10)
    assert 2 == await journal.forget(SOON, 2)
    assert 1 == await journal.forget(SOON, 2)
    assert [3] == [one.place for one in await journal.read("req_1", 0, 10)]
