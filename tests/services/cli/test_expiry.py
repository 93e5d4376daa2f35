"""When a key is to end, as people write it."""

from datetime import UTC, datetime, timedelta

import pytest

from events.words import Invalid
from services.cli.commands.keys import expires_at

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)

SPANS = {
    "90m": timedelta(minutes=90),
    "12h": timedelta(hours=12),
    "30d": timedelta(days=30),
    "8w": timedelta(weeks=8),
}


@pytest.mark.parametrize(("text", "span"), SPANS.items())
def test_a_span_is_counted_from_now(text: str, span: timedelta) -> None:
    assert NOON + span == expires_at(text, NOON)


def test_a_time_is_taken_as_it_is_and_as_utc_where_it_does_not_say() -> None:
    assert datetime(2027, 1, 31, tzinfo=UTC) == expires_at("2027-01-31T00:00:00Z", NOON)
    assert datetime(2027, 1, 31, tzinfo=UTC) == expires_at("2027-01-31", NOON)
    assert expires_at(None, NOON) is None


@pytest.mark.parametrize("text", ["", "12", "h", "1y", "-3d", "1.5h", "tomorrow", "999999w", "2027-13-01"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        expires_at(text, NOON)
