"""Figures as Prometheus reads them."""

from collections.abc import Callable, Iterable

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from services.telemetry.figures import Counts, Figure, Reading

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class PrometheusFigures(Collector):
    """A collector that reads the figures anew at each scrape."""

    def __init__(self, read: Callable[[], Iterable[Reading]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Called by prometheus_client at each scrape."""
        return map(_family, self._read())


def _family(reading: Reading) -> Metric:
    figure = reading.figure
    made = _empty(figure)
    for values, value in reading.samples:
        if isinstance(made, HistogramMetricFamily):
            assert isinstance(value, Counts)
            made.add_metric(values, _cumulative(figure, value), value.total)
        else:
            assert not isinstance(value, Counts)
            made.add_metric(values, value)
    return made


def _empty(figure: Figure) -> Family:
    name, meaning, labels = figure.prometheus, figure.meaning, figure.labels
    match figure.kind:
        case "counter":
            return CounterMetricFamily(name, meaning, labels=labels)
        case "gauge":
            return GaugeMetricFamily(name, meaning, labels=labels)
        case "histogram":
            return HistogramMetricFamily(name, meaning, labels=labels)


def _cumulative(figure: Figure, counts: Counts) -> list[tuple[str, float]]:
    found, running = [], 0
    for bound, count in zip((*map(str, map(float, figure.bounds)), "+Inf"), counts.buckets, strict=True):
        running += count
        found.append((bound, float(running)))
    return found
