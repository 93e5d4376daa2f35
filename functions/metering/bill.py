"""What a page of usage records adds to the sums people read."""

from collections.abc import Iterable
from datetime import UTC, date

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
    """One increment for each line the records bill, in the order of its first record."""
    sums: dict[tuple[str, str, str, int], list[int]] = {}
    for record in records:
        if not isinstance(record, Completed | Settled) or not record.billed:
            continue
        line = (record.tenant, record.key, record.model, record.at.astimezone(UTC).toordinal())
        total = sums.get(line)
        if total is None:
            total = sums[line] = [0] * 6
        _add(total, record)
    return tuple(_increment(line, total) for line, total in sums.items())


def _add(total: list[int], record: Completed | Settled) -> None:
    usage = record.usage
    total[0] += -1 if isinstance(record, Settled) and record.id.startswith("rev:") else 1
    total[1] += usage.input
    total[2] += usage.output
    total[3] += usage.cached
    total[4] += usage.reasoning
    total[5] += _estimated(record)


def _increment(line: tuple[str, str, str, int], total: list[int]) -> Increment:
    tenant, key, model, day = line
    requests, input_, output, cached, reasoning, estimated = total
    return Increment(
        line=Line(tenant=tenant, key=key, model=model, day=date.fromordinal(day).isoformat()),
        requests=requests,
        usage=Usage(input=input_, output=output, cached=cached, reasoning=reasoning),
        estimated=estimated,
    )


def _estimated(record: Completed | Settled) -> int:
    if isinstance(record, Settled) or record.estimated == "usage":
        return record.usage.input + record.usage.output
    if record.estimated is None:
        return 0
    return record.usage.input if record.estimated == "input" else record.usage.output
