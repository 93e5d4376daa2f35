from datetime import UTC, datetime, timedelta, timezone

import pytest

from events.usage import UsageRecord
from events.words import Usage
from functions.metering.bill import Increment, Line, increments
from tests.functions.metering.records import completed, progress, settled, started

LINE = Line(tenant="acme", key="key_1", model="gemma", day="2026-01-01")


def only(*records: UsageRecord) -> Increment:
    (increment,) = increments(records)
    return increment


def test_a_completion_is_billed_as_one_request() -> None:
    assert Increment(line=LINE, requests=1, usage=Usage(input=10, output=20), estimated=0) == only(
        completed()
    )


@pytest.mark.parametrize(
    "record",
    [started(), progress(input=5), completed(billed=False), settled(billed=False)],
    ids=["started", "progress", "not billed", "lost in the queue"],
)
def test_what_is_not_a_bill_row_adds_nothing(record: UsageRecord) -> None:
    assert () == increments([record])


def test_rows_of_one_line_are_added_up() -> None:
    summed = only(completed("a"), completed("b", usage=Usage(input=1, cached=1, output=2, reasoning=2)))
    assert (2, Usage(input=11, output=22, cached=1, reasoning=2)) == (summed.requests, summed.usage)


@pytest.mark.parametrize("differing", [{"tenant": "other"}, {"key": "key_2"}, {"model": "small"}])
def test_tenants_keys_and_models_are_billed_apart(differing: dict[str, str]) -> None:
    assert 2 == len(increments([completed(), completed(**differing)]))


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (datetime(2026, 1, 1, 23, 59, tzinfo=UTC), "2026-01-01"),
        (datetime(2026, 1, 2, 0, 30, tzinfo=timezone(timedelta(hours=1))), "2026-01-01"),
        (datetime(2025, 12, 31, 20, 0, tzinfo=timezone(timedelta(hours=-5))), "2026-01-01"),
    ],
)
def test_a_day_is_a_day_in_utc(at: datetime, day: str) -> None:
    assert day == only(completed(at=at)).line.day


@pytest.mark.parametrize(("estimated", "tokens"), [(None, 0), ("input", 10), ("output", 20), ("usage", 30)])
def test_tokens_no_engine_counted_are_told_apart(estimated: str | None, tokens: int) -> None:
    assert tokens == only(completed(estimated=estimated)).estimated


def test_an_estimate_is_a_request_of_estimated_tokens() -> None:
    assert Increment(line=LINE, requests=1, usage=Usage(input=7), estimated=7) == only(settled())


def test_an_estimate_and_its_reversal_leave_nothing() -> None:
    both = only(settled(), settled("rev:a", usage=-Usage(input=7)))
    assert Increment(line=LINE, requests=0, usage=Usage(), estimated=0) == both
