from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.words import ApiKey, Usage, attempt_id, hashed_id

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)

counts = st.integers(0, 10**9)
usages = st.builds(Usage, input=counts, output=counts, cached=counts, reasoning=counts)


@given(usages, usages, usages)
def test_usage_adds_up_in_any_order(a: Usage, b: Usage, c: Usage) -> None:
    assert (a + b) + c == c + (b + a)


@given(usages)
def test_usage_and_its_negative_make_nothing(usage: Usage) -> None:
    assert Usage() == usage + -usage


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "usable"),
    [
        (None, None, True),
        (NOON, None, False),
        (NOON + SECOND, None, True),
        (None, NOON, False),
        (None, NOON + SECOND, True),
        (NOON + SECOND, NOON - SECOND, False),
        (NOON - SECOND, NOON + SECOND, False),
    ],
)
def test_a_key_acts_until_it_expires_or_is_revoked(
    expires_at: datetime | None, revoked_at: datetime | None, usable: bool
) -> None:
    key = ApiKey(
        hash="h",
        id="key_1",
        tenant="acme",
        name="laptop",
        created_at=NOON - timedelta(days=1),
        expires_at=expires_at,
        revoked_at=revoked_at,
    )
    assert usable is key.usable_at(NOON)


def test_a_hashed_id_is_the_same_on_every_machine() -> None:
    assert "54e41becad5d8da0975f0cb3f852fc8c" == hashed_id(("req_1", "2", "penstock.usage.recorded.v1"))


def test_parts_do_not_run_into_each_other() -> None:
    assert hashed_id(("ab", "c")) != hashed_id(("a", "bc"))


def test_an_attempt_is_named_by_its_request_and_its_number() -> None:
    assert "req_1.2" == attempt_id("req_1", 2)
