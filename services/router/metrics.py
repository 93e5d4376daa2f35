"""What is counted of requests: plain numbers on the hot path, figures when somebody asks."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import TypeAlias

from events.requests import CHAT
from events.words import Usage
from services.telemetry import figures
from services.telemetry.figures import Counts, Figure, Reading, Sample
from services.telemetry.names import (
    DURATIONS_S,
    FIRST_TOKENS_S,
    OUTPUT_TOKENS_S,
    TOKENS,
    operation_of,
)

# One value, or several by the values of the figure's attributes.
Gauge: TypeAlias = Callable[[], float | Mapping[tuple[str, ...], float]]


AT_ONCE = 256  # answers counted together: it halves what each of them costs


class Histogram:
    """Counts of observations by upper bound, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    @property
    def read(self) -> Counts:
        """The value of a figure."""
        return Counts(self.counts, self.total)


Ended: TypeAlias = tuple[str, Usage, float, float | None]


class Series:
    """The numbers of one model at one backend, for one endpoint. What ended lately waits in `pending`."""

    __slots__ = ("durations", "first", "input", "output", "pending", "per_token")

    def __init__(self) -> None:
        self.pending: list[Ended] = []
        self.durations: dict[str, Histogram] = {}  # by outcome
        self.first = Histogram(FIRST_TOKENS_S)
        self.per_token = Histogram(OUTPUT_TOKENS_S)
        self.input = Histogram(TOKENS)
        self.output = Histogram(TOKENS)

    def add(self, ended: Ended) -> None:
        """One ended: how, what it used, how long it took, and when the first part of its answer came."""
        self.pending.append(ended)
        if len(self.pending) >= AT_ONCE:
            self.fold()

    def fold(self) -> "Series":
        """Counts what is pending, in one loop without calls of our own: this is on every request's bill."""
        ended, self.pending = self.pending, []
        into, out, first, each = self.input, self.output, self.first, self.per_token
        for outcome, usage, took_s, first_s in ended:
            tokens = usage.input
            into.counts[bisect_left(TOKENS, tokens)] += 1
            into.total += tokens
            tokens = usage.output
            out.counts[bisect_left(TOKENS, tokens)] += 1
            out.total += tokens
            durations = self.durations.get(outcome)
            if durations is None:
                durations = self.durations[outcome] = Histogram(DURATIONS_S)
            durations.counts[bisect_left(DURATIONS_S, took_s)] += 1
            durations.total += took_s
            if first_s is None or outcome != "finished":
                continue
            first.counts[bisect_left(FIRST_TOKENS_S, first_s)] += 1
            first.total += first_s
            if tokens > 1 and took_s > first_s:
                each_s = (took_s - first_s) / (tokens - 1)
                each.counts[bisect_left(OUTPUT_TOKENS_S, each_s)] += 1
                each.total += each_s
        return self


Place: TypeAlias = tuple[str, str, str]  # a model, a backend, and the path of an endpoint


class Metrics:
    """All numbers of one process; `gauges`, named as in `figures.GAUGES`, are read when somebody asks."""

    def __init__(self, gauges: Mapping[str, Gauge]) -> None:
        self.answered: dict[Place, Series] = {}
        self.ran: dict[Place, Series] = {}
        self.retries: dict[tuple[str, str], int] = {}
        self.refusals: dict[tuple[int, str], int] = {}
        self.cache: dict[str, int] = {}
        self.gauges = dict(gauges)

    def retried(self, model: str, outcome: str) -> None:
        """An attempt with this outcome was followed by another."""
        self.retries[model, outcome] = self.retries.get((model, outcome), 0) + 1

    def ended(
        self,
        model: str,
        outcome: str,
        usage: Usage,
        duration_s: float,
        first_byte_s: float | None,
        *,
        backend: str = "",
        path: str = CHAT,
    ) -> None:
        """A synchronous request ended, for all its attempts. `first_byte_s`: from the same beginning to the
        first part of a streamed answer.
        """
        series = self.answered.get((model, backend, path))
        if series is None:
            series = self.answered[model, backend, path] = Series()
        series.add((outcome, usage, duration_s, first_byte_s))

    def attempted(
        self, model: str, backend: str, path: str, outcome: str, usage: Usage, duration_s: float
    ) -> None:
        """An attempt at a queued request ended."""
        series = self.ran.setdefault((model, backend, path), Series())
        series.add((outcome, usage, duration_s, None))

    def refused(self, status: int, code: str) -> None:
        """A call was answered with an error before any attempt."""
        self.refusals[status, code] = self.refusals.get((status, code), 0) + 1

    def looked(self, result: str) -> None:
        """What the cache had for a call."""
        self.cache[result] = self.cache.get(result, 0) + 1

    # --- read

    def read(self) -> Iterable[Reading]:
        """Every figure as it stands now."""
        for series in (*self.answered.values(), *self.ran.values()):
            series.fold()
        yield _durations(figures.REQUESTS, self.answered)
        for figure, part in ((figures.FIRST_TOKENS, "first"), (figures.OUTPUT_TOKENS, "per_token")):
            yield Reading(
                figure,
                [
                    Sample(_told(place), getattr(series, part).read)
                    for place, series in self.answered.items()
                    if any(getattr(series, part).counts)
                ],
            )
        yield _durations(figures.OPERATIONS, self.ran)
        yield Reading(figures.TOKENS, list(self._tokens()))
        yield _counter(figures.RETRIES, self.retries.items())
        refusals = (((str(status), code), count) for (status, code), count in self.refusals.items())
        yield _counter(figures.REFUSALS, refusals)
        yield _counter(figures.CACHE, (((result,), count) for result, count in self.cache.items()))
        for name, read in self.gauges.items():
            yield _gauge(figures.GAUGES[name], read())

    def _tokens(self) -> Iterable[Sample]:
        """Of both ways in."""
        for place in self.answered.keys() | self.ran.keys():
            found = [by[place] for by in (self.answered, self.ran) if place in by]
            for direction in ("input", "output"):
                counts = [getattr(series, direction).read for series in found]
                yield Sample((*_told(place), direction), reduce(_added, counts))


def _told(place: Place) -> tuple[str, str, str]:
    model, backend, path = place
    return operation_of(path), model, backend


def _added(one: Counts, other: Counts) -> Counts:
    buckets = [a + b for a, b in zip(one.buckets, other.buckets, strict=True)]
    return Counts(buckets, one.total + other.total)


def _durations(figure: Figure, found: Mapping[Place, Series]) -> Reading:
    """What went well has no kind of error."""
    samples = [
        Sample((*_told(place), "" if outcome == "finished" else outcome), durations.read)
        for place, series in found.items()
        for outcome, durations in series.durations.items()
    ]
    return Reading(figure, samples)


def _counter(figure: Figure, found: Iterable[tuple[tuple[str, ...], int]]) -> Reading:
    return Reading(figure, [Sample(values, count) for values, count in found])


def _gauge(figure: Figure, value: float | Mapping[tuple[str, ...], float]) -> Reading:
    if isinstance(value, Mapping):
        return Reading(figure, [Sample(values, one) for values, one in value.items()])
    return Reading(figure, [Sample((), value)])
