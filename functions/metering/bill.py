"""What a page of usage records adds to the sums people read."""

from collections.abc import Iterable
from datetime import UTC

from events.usage import Completed, Settled, UsageRecord
from events.words import Record, Usage


class Line(Record):
    """What a sum is kept for. `day` is the UTC date of the attempt's end, `YYYY-MM-DD`."""

    tenant: str
    key: str
    model: str
    day: str


class Increment(Record):
    """What to add to the sum of a line; `estimated` is the tokens in it no engine counted."""

    line: Line
    requests: int
    usage: Usage
    estimated: int


class UsageSum(Record):
    """What all increments of a line add up to; `estimated` is the tokens in it no engine counted."""

    line: Line
    requests: int
    usage: Usage
    estimated: int


def increments(records: Iterable[UsageRecord]) -> tuple[Increment, ...]:
    """One increment for each line the records bill; its order follows the records."""
    sums: dict[Line, Increment] = {}
    for record in records:
        if not isinstance(record, Completed | Settled) or not record.billed:
            continue
        line = Line(
            tenant=record.tenant,
            key=record.key,
            model=record.model,
            day=record.at.astimezone(UTC).date().isoformat(),
        )
        before = sums.get(line) or Increment(line=line, requests=0, usage=Usage(), estimated=0)
        sums[line] = Increment(
            line=line,
            requests=before.requests + _requests(record),
            usage=before.usage + record.usage,
            estimated=before.estimated + _estimated(record),
        )
    return tuple(sums.values())


def _requests(record: Completed | Settled) -> int:
    return -1 if isinstance(record, Settled) and record.id.startswith("rev:") else 1


def _estimated(record: Completed | Settled) -> int:
    if isinstance(record, Settled) or record.estimated == "usage":
        return record.usage.input + record.usage.output
    if record.estimated is None:
        return 0
    return record.usage.input if record.estimated == "input" else record.usage.output
