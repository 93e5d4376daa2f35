import itertools
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from events.usage import Settled, UsageRecord
from events.words import Usage
from functions.metering.settlement import MARKS_KEPT, Fold, Standing, StoredPage
from tests.functions.metering.records import (
    NOON,
    SECOND,
    SILENT_AFTER,
    completed,
    page,
    progress,
    settled,
    started,
)

NOTHING = Standing(producer="p")
LATER = NOON + SILENT_AFTER + SECOND


def fold(*records: UsageRecord, standing: Standing = NOTHING, at_s: float = 0) -> Fold:
    folding = Fold(standing)
    stored_at = NOON + timedelta(seconds=at_s)
    folding.add(StoredPage(id="page", stored_at=stored_at, page=page(*records)))
    return folding


def rows(*records: UsageRecord, counts: dict[str, Usage] | None = None) -> list[Settled]:
    folding = fold(*records)
    folding.settle(LATER, SILENT_AFTER, counts or {})
    return folding.rows


def only(*records: UsageRecord, counts: dict[str, Usage] | None = None) -> Settled:
    (row,) = rows(*records, counts=counts)
    return row


def test_an_attempt_that_completed_leaves_nothing_behind() -> None:
    folding = fold(started(), progress(input=5), completed())
    assert folding.standing().idle
    assert [] == folding.rows


def test_a_completion_before_its_start_leaves_a_mark_that_the_start_finds() -> None:
    early = fold(completed()).standing()
    assert not early.idle
    assert fold(started(), standing=early).standing().idle


def test_an_answer_from_the_cache_never_started_and_leaves_nothing_behind() -> None:
    assert fold(completed(hit="memory")).standing().idle


def test_a_silent_attempt_is_settled_by_its_input() -> None:
    row = only(started())
    assert ("est:a", "input", Usage(input=7), True) == (row.id, row.source, row.usage, row.billed)
    assert LATER == row.at


def test_a_silent_attempt_that_spoke_is_settled_by_its_last_progress() -> None:
    row = only(started(), progress(input=5), progress(input=5, output=9))
    assert ("progress", Usage(input=5, output=9)) == (row.source, row.usage)


def test_an_agents_own_count_wins() -> None:
    row = only(started(), progress(input=5), counts={"a": Usage(input=6, output=11)})
    assert ("agent", Usage(input=6, output=11)) == (row.source, row.usage)


def test_a_queued_attempt_that_was_lost_is_written_down_but_not_billed() -> None:
    assert not only(started(queued=True)).billed


@pytest.mark.parametrize(("silent_s", "is_settled"), [(29, False), (30, False), (31, True)])
def test_an_attempt_is_settled_only_after_it_was_silent_long_enough(silent_s: int, is_settled: bool) -> None:
    folding = fold(started())
    folding.settle(NOON + silent_s * SECOND, SILENT_AFTER, {})
    assert is_settled is bool(folding.rows)


def test_progress_shows_that_an_attempt_is_alive() -> None:
    folding = fold(progress(output=1), standing=fold(started()).standing(), at_s=20)
    folding.settle(NOON + 50 * SECOND, SILENT_AFTER, {})
    assert [] == folding.rows


def test_an_attempt_is_settled_once() -> None:
    folding = fold(started())
    folding.settle(LATER, SILENT_AFTER, {})
    again = Fold(folding.standing())
    again.settle(LATER + timedelta(days=1), SILENT_AFTER, {})
    assert [] == again.rows


@pytest.mark.parametrize("queued", [False, True])
def test_a_completion_after_its_estimate_takes_the_estimate_back(queued: bool) -> None:
    folding = fold(started(queued=queued))
    folding.settle(LATER, SILENT_AFTER, {})
    (estimated,) = folding.rows
    late = fold(completed(), standing=folding.standing())
    (reversal,) = late.rows
    assert replace(estimated, id="rev:a", usage=-estimated.usage) == reversal
    assert late.standing().idle


@pytest.mark.parametrize("queued", [False, True])
def test_all_rows_of_an_attempt_add_up_to_what_the_pool_did_and_the_billed_ones_to_its_bill(
    queued: bool,
) -> None:
    folding = fold(started(queued=queued))
    folding.settle(LATER, SILENT_AFTER, {})
    done = completed()
    rows = [*folding.rows, *fold(done, standing=folding.standing()).rows, done]
    assert done.usage == sum((row.usage for row in rows), Usage())
    assert done.usage == sum((row.usage for row in rows if row.billed), Usage())


def test_its_own_rows_mean_nothing_to_a_fold() -> None:
    assert fold(settled()).standing().idle


@pytest.mark.parametrize(("age", "is_kept"), [(MARKS_KEPT - SECOND, True), (MARKS_KEPT, False)])
def test_marks_are_dropped_once_no_topic_can_hold_their_page(age: timedelta, is_kept: bool) -> None:
    folding = fold(completed())
    folding.settle(NOON + age, SILENT_AFTER, {})
    assert is_kept is not folding.standing().idle


RECORDS: list[UsageRecord] = [
    record
    for attempt in "abc"
    for record in (started(attempt), progress(attempt, output=3), completed(attempt))
]


@given(st.permutations(RECORDS), st.lists(st.integers(0, len(RECORDS)), max_size=4))
def test_what_is_remembered_does_not_depend_on_where_a_fold_was_laid_down(
    records: list[UsageRecord], cuts: list[int]
) -> None:
    whole = fold(*records).standing()
    edges = [0, *sorted(cuts), len(records)]
    standing = NOTHING
    for begin, end in itertools.pairwise(edges):
        standing = fold(*records[begin:end], standing=standing).standing()
    assert whole == standing


@given(st.permutations(RECORDS))
def test_attempts_that_completed_are_forgotten_in_any_order_of_arrival(records: list[UsageRecord]) -> None:
    folding = fold(*records)
    assert folding.standing().idle
    assert [] == folding.rows


def test_a_start_that_is_heard_again_after_its_estimate_opens_nothing() -> None:
    folding = fold(started())
    folding.settle(LATER, SILENT_AFTER, {})
    assert {} == fold(started(), standing=folding.standing()).open
