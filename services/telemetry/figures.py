"""Every figure a process shows: the one table behind Prometheus, OTLP and docs/observability.md."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from events.words import Record
from services.telemetry import names

Kind = Literal["counter", "gauge", "histogram"]


class Figure(Record):
    """One figure. `unit` is UCUM's, in braces where it is only a word. `attributes` are what it is told by;
    their values are names of the configuration or of this code, never a caller's. `bounds` are a histogram's.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    attributes: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def prometheus(self) -> str:
        """Its name there; `_total`, `_bucket`, `_sum` and `_count` come behind it by its kind."""
        return names.metric_of(self.name, self.unit)

    @property
    def labels(self) -> tuple[str, ...]:
        """Its attributes as Prometheus calls them."""
        return tuple(map(names.label_of, self.attributes))


class Counts(NamedTuple):
    """A histogram's value: observations by bucket, the last one above all bounds, and their sum."""

    buckets: Sequence[int]
    total: float


class Sample(NamedTuple):
    """One value of a figure, and the values of its attributes in their order."""

    values: tuple[str, ...]
    value: float | Counts


class Reading(NamedTuple):
    """A figure as it stands."""

    figure: Figure
    samples: Sequence[Sample]


_PLACE = (names.OPERATION, names.REQUEST_MODEL, names.BACKEND)

REQUESTS = Figure(
    name=names.REQUEST_DURATION,
    kind="histogram",
    unit="s",
    meaning="From an admitted call to the end of its answer, all its attempts included; by how it failed.",
    attributes=(*_PLACE, names.ERROR_TYPE),
    bounds=names.DURATIONS_S,
)
FIRST_TOKENS = Figure(
    name=names.TIME_TO_FIRST_TOKEN,
    kind="histogram",
    unit="s",
    meaning="From an admitted call to the first part of a streamed answer that came whole.",
    attributes=_PLACE,
    bounds=names.FIRST_TOKENS_S,
)
OUTPUT_TOKENS = Figure(
    name=names.TIME_PER_OUTPUT_TOKEN,
    kind="histogram",
    unit="s",
    meaning="Time per token behind the first of a streamed answer that came whole: tokens/s inverted.",
    attributes=_PLACE,
    bounds=names.OUTPUT_TOKENS_S,
)
OPERATIONS = Figure(
    name=names.OPERATION_DURATION,
    kind="histogram",
    unit="s",
    meaning="Attempts at queued requests, from their claim to their end; by how they failed.",
    attributes=(*_PLACE, names.ERROR_TYPE),
    bounds=names.DURATIONS_S,
)
TOKENS = Figure(
    name=names.TOKEN_USAGE,
    kind="histogram",
    unit="{token}",
    meaning="Tokens of each answer, by direction.",
    attributes=(*_PLACE, names.TOKEN_TYPE),
    bounds=names.TOKENS,
)
RETRIES = Figure(
    name="penstock.retries",
    kind="counter",
    meaning="Attempts followed by another, by how they failed.",
    attributes=(names.REQUEST_MODEL, names.ERROR_TYPE),
)
REFUSALS = Figure(
    name="penstock.refusals",
    kind="counter",
    meaning="Calls answered with an error before any attempt.",
    attributes=(names.STATUS, names.ERROR_TYPE),
)
CACHE = Figure(
    name="penstock.cache.requests",
    kind="counter",
    meaning="Calls of tenants that turned caching on: answered from `memory` or `shared`; made anew for want "
    "of an entry (`miss`), because the shared tier was slow (`late`) or passed by (`bypass`).",
    attributes=(names.RESULT,),
)
BREAKERS = Figure(
    name="penstock.breaker.state",
    kind="gauge",
    meaning="1 for the state of a replica's breaker: `closed`, `open` (put aside) or `half_open` (on trial).",
    attributes=(names.BACKEND, names.REPLICA, names.STATE),
)
IN_FLIGHT = Figure(
    name="penstock.in_flight",
    kind="gauge",
    meaning="Synchronous requests under way.",
    attributes=(names.REQUEST_MODEL, names.BACKEND),
)
QUEUED = Figure(
    name="penstock.queue.waiting",
    kind="gauge",
    meaning="Requests that wait for a slot, as of the last report of pressure (every 10 s).",
    attributes=(names.BACKEND, names.LANE),
)
OLDEST = Figure(
    name="penstock.queue.oldest",
    kind="gauge",
    unit="s",
    meaning="How long the oldest of them has waited.",
    attributes=(names.BACKEND, names.LANE),
)


def _gauge(name: str, meaning: str, unit: str = "") -> Figure:
    return Figure(name=f"penstock.{name}", kind="gauge", meaning=meaning, unit=unit)


_PLAIN = (
    _gauge("queue.running", "Queued requests that run here."),
    _gauge("connections", "Clients connected."),
    _gauge("held", "What bodies and answers under way hold of the budget.", "By"),
    _gauge("cold_waiting", "Calls that wait for an engine of a cold pool."),
    _gauge("keyed_calls", "Calls under an idempotency key under way."),
    _gauge("cached", "What cached answers hold in memory.", "By"),
    _gauge("unreadable_requests", "Request documents nobody here can read."),
    _gauge("usage.backlog", "Usage records not published yet."),
    _gauge("usage.failing", "1 while the bus takes no usage records."),
    _gauge("log.dropped", "Lines of the access log dropped, because nobody read the others."),
)

FIGURES = (
    REQUESTS, FIRST_TOKENS, OUTPUT_TOKENS, OPERATIONS, TOKENS, RETRIES, REFUSALS, CACHE, BREAKERS, IN_FLIGHT,
    QUEUED, OLDEST, *_PLAIN,
)  # fmt: skip
GAUGES = {
    figure.name.removeprefix("penstock.").replace(".", "_"): figure
    for figure in FIGURES
    if figure.kind == "gauge"
}
