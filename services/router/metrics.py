"""What the router counts: plain numbers on the hot path, Prometheus families when somebody asks."""

from bisect import bisect_left
from collections.abc import Callable, Iterable

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from events.words import Usage

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Histogram:
    """Counts of observations by upper bound, in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts, as Prometheus wants them."""
        found, running = [], 0
        for bound, count in zip((*map(str, SECONDS), "+Inf"), self.counts, strict=True):
            running += count
            found.append((bound, float(running)))
        return found


class ModelMetrics:
    """The numbers of one model."""

    __slots__ = ("duration", "first_byte", "input_tokens", "outcomes", "output_tokens", "retries")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.retries: dict[str, int] = {}
        self.input_tokens = 0
        self.output_tokens = 0
        self.duration = Histogram()
        self.first_byte = Histogram()


class Metrics(Collector):
    """All numbers of one process; `gauges` are read when scraped."""

    def __init__(self, gauges: dict[str, Callable[[], float]]) -> None:
        self.models: dict[str, ModelMetrics] = {}
        self.refusals: dict[tuple[int, str], int] = {}
        self.gauges = gauges

    def retried(self, model: str, outcome: str) -> None:
        """An attempt with this outcome was followed by another."""
        retries = self._of(model).retries
        retries[outcome] = retries.get(outcome, 0) + 1

    def _of(self, model: str) -> ModelMetrics:
        numbers = self.models.get(model)
        if numbers is None:
            numbers = self.models[model] = ModelMetrics()
        return numbers

    def ended(
        self, model: str, outcome: str, usage: Usage, duration_s: float, first_byte_s: float | None
    ) -> None:
        """An attempt ended."""
        numbers = self._of(model)
        numbers.outcomes[outcome] = numbers.outcomes.get(outcome, 0) + 1
        numbers.input_tokens += usage.input
        numbers.output_tokens += usage.output
        numbers.duration.observe(duration_s)
        if first_byte_s is not None:
            numbers.first_byte.observe(first_byte_s)

    def refused(self, status: int, code: str) -> None:
        """A request was answered with an error before any attempt."""
        self.refusals[status, code] = self.refusals.get((status, code), 0) + 1

    def collect(self) -> Iterable[Metric]:
        """Called by prometheus_client at each scrape."""
        attempts = CounterMetricFamily(
            "penstock_attempts", "Attempts by outcome.", labels=("model", "outcome")
        )
        retries = CounterMetricFamily(
            "penstock_retries", "Attempts followed by another, by their outcome.", labels=("model", "outcome")
        )
        tokens = CounterMetricFamily("penstock_tokens", "Tokens by direction.", labels=("model", "direction"))
        duration = HistogramMetricFamily("penstock_attempt_seconds", "Attempts' duration.", labels=("model",))
        first = HistogramMetricFamily(
            "penstock_first_byte_seconds", "Time to an answer's first byte.", labels=("model",)
        )
        for model, numbers in self.models.items():
            for outcome, count in numbers.outcomes.items():
                attempts.add_metric((model, outcome), count)
            for outcome, count in numbers.retries.items():
                retries.add_metric((model, outcome), count)
            tokens.add_metric((model, "input"), numbers.input_tokens)
            tokens.add_metric((model, "output"), numbers.output_tokens)
            duration.add_metric((model,), numbers.duration.buckets(), numbers.duration.total)
            first.add_metric((model,), numbers.first_byte.buckets(), numbers.first_byte.total)
        yield from (attempts, retries, tokens, duration, first, self._refusals())
        for name, read in self.gauges.items():
            yield GaugeMetricFamily(
                f"penstock_{name}", name.replace("_", " ").capitalize() + ".", value=read()
            )

    def _refusals(self) -> CounterMetricFamily:
        family = CounterMetricFamily(
            "penstock_refusals", "Requests answered with an error.", labels=("status", "code")
        )
        for (status, code), count in self.refusals.items():
            family.add_metric((str(status), code), count)
        return family
