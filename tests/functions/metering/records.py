"""Usage records for tests, with everything that does not matter filled in."""

from datetime import UTC, datetime, timedelta
from typing import Any

from events.usage import Completed, Progress, Settled, Started, UsageRecord, UsageRecorded
from events.words import Usage

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SILENT_AFTER = 30 * SECOND

_WHO: dict[str, Any] = {
    "request": "req_1",
    "tenant": "acme",
    "key": "key_1",
    "model": "gemma",
    "backend": "pool",
    "at": NOON,
}


def started(attempt: str = "a", **changed: Any) -> Started:
    return Started(**_WHO | {"attempt": attempt, "estimate": 7} | changed)


def progress(attempt: str = "a", **usage: int) -> Progress:
    return Progress(attempt=attempt, at=NOON, usage=Usage(**usage))


def completed(attempt: str = "a", **changed: Any) -> Completed:
    ended = {"attempt": attempt, "outcome": "finished", "usage": Usage(input=10, output=20), "billed": True}
    return Completed(**_WHO | ended | changed)


def settled(id: str = "est:a", **changed: Any) -> Settled:
    row = {"id": id, "attempt": "a", "usage": Usage(input=7), "billed": True}
    return Settled(**_WHO | row | changed)


def page(*records: UsageRecord, producer: str = "p") -> UsageRecorded:
    return UsageRecorded(producer=producer, records=records)
