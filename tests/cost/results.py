"""What a run found."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from events.usage import Completed, Started, UsageRecorded
from tests.bench.results import Header
from tests.cost.counts import together

ByPart = dict[str, dict[str, float]]

USAGE = "usage-recorded-v1"


class Pages(Struct, frozen=True, kw_only=True):
    """Usage pages. `only_starts`: those of them that bill nothing, because all their records are starts."""

    pages: int = 0
    records: int = 0
    only_starts: int = 0
    started: int = 0
    completed: int = 0


class Measured(Struct, frozen=True, kw_only=True):
    """Some requests. `counts`: by part and name, for all of them together, less what the parts do anyway."""

    name: str
    way: str
    rate: float
    requests: int
    routers: int
    tenants: int
    late_ms: float
    pages: Pages
    counts: ByPart
    problems: tuple[str, ...] = ()

    @property
    def each(self) -> dict[str, float]:
        """All parts together, for one request."""
        return {name: number / self.requests for name, number in together(self.counts.values()).items()}


class Idle(Struct, frozen=True, kw_only=True):
    """What is done where nobody asks anything: `start` by a router that starts, `polls` by part in one
    second, `jobs` by job and part in one run each.
    """

    start: dict[str, float]
    polls: ByPart
    jobs: dict[str, ByPart]


class Run(Struct, frozen=True, kw_only=True):
    """One run. `reading_usage`: documents read for one `penstock usage`, and the lines it showed."""

    about: Header
    command: str
    profile: str
    idle: Idle
    synchronous: list[Measured]
    queued: list[Measured]
    reading_usage: tuple[int, int]


def pages_of(requests: Iterable[Any]) -> Pages:
    """The usage pages among publish requests; one that was published again counts once."""
    messages = {
        message.attributes["ce-id"]: message.data
        for request in requests
        if request.topic.endswith(f"/{USAGE}")
        for message in request.messages
    }
    found = [msgspec.json.decode(data, type=UsageRecorded).records for data in messages.values()]
    kinds = Counter(type(record) for records in found for record in records)
    return Pages(
        pages=len(found),
        records=kinds.total(),
        only_starts=sum(all(isinstance(record, Started) for record in records) for records in found),
        started=kinds[Started],
        completed=kinds[Completed],
    )


def by_part(edges: Mapping[str, Mapping[str, float]]) -> ByPart:
    """Several processes of one part as one: `router-2` is a router."""
    parts: dict[str, list[Mapping[str, float]]] = {}
    for name, counts in edges.items():
        parts.setdefault(name.partition("-")[0], []).append(counts)
    return {name: together(several) for name, several in parts.items()}
