"""Spans and figures over OTLP/HTTP, by OpenTelemetry's SDK; imported only where an endpoint is configured."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from services.telemetry import names
from services.telemetry.context import Context
from services.telemetry.figures import Counts, Figure, Reading, Sample
from services.telemetry.spans import Span

SCOPE = "penstock"
CLOSES_WITHIN_S = 2.0  # then sending is not tried again
UNKNOWN = cast(float, None)  # optional on the wire
SAMPLED = TraceFlags(TraceFlags.SAMPLED)

log = logging.getLogger("penstock.telemetry")


def resource_of(attributes: Mapping[str, str]) -> Resource:
    """Who says all this; OTEL_RESOURCE_ATTRIBUTES adds to it."""
    return Resource.create(dict(attributes))


class OtlpSpans:
    """Takes spans and sends them in batches, from a thread of the SDK's. While nobody takes them the oldest
    are dropped.
    """

    def __init__(self, url: str, resource: Resource) -> None:
        self._resource = resource
        self._scope = InstrumentationScope(SCOPE)
        self._exporter = OTLPSpanExporter(endpoint=url)
        self._batches = BatchSpanProcessor(self._exporter)

    def __call__(self, span: Span) -> None:
        """One ended."""
        self._batches.on_end(self._readable(span))

    def _readable(self, span: Span) -> ReadableSpan:
        context = span.context
        above = Context(trace_id=context.trace_id, span_id=span.parent, sampled=True)
        attributes = span.attributes | ({names.ERROR_TYPE: span.error} if span.error else {})
        return ReadableSpan(
            name=span.name,
            context=_span_context(context, remote=False),
            parent=_span_context(above, remote=True) if span.parent else None,
            resource=self._resource,
            attributes=attributes,
            kind=SpanKind[span.kind.upper()],
            instrumentation_scope=self._scope,
            status=Status(StatusCode.ERROR if span.error else StatusCode.UNSET),
            start_time=span.began_ns,
            end_time=span.ended_ns,
        )

    async def close(self) -> None:
        """Sends what is left, if somebody takes it."""
        giving_up = asyncio.get_running_loop().call_later(CLOSES_WITHIN_S, self._exporter.shutdown)
        await asyncio.to_thread(self._batches.shutdown)
        giving_up.cancel()


def _span_context(context: Context, *, remote: bool) -> SpanContext:
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), remote, SAMPLED)


class OtlpFigures:
    """Sends what `read` tells, every `every_s` seconds; `run` once, `close` once."""

    def __init__(
        self, url: str, resource: Resource, read: Callable[[], Iterable[Reading]], every_s: float
    ) -> None:
        self._exporter = OTLPMetricExporter(endpoint=url)
        self._resource = resource
        self._scope = InstrumentationScope(SCOPE)
        self._read = read
        self._every_s = every_s
        self._began_ns = time.time_ns()

    async def run(self) -> None:
        """Until cancelled; what is not taken is told by the next figures, which count from the beginning."""
        while True:
            await asyncio.sleep(self._every_s)
            await self._send()

    async def _send(self) -> None:
        data = self._data()  # here, where the numbers are; sending is for a thread
        try:
            result = await asyncio.to_thread(self._exporter.export, data)
        except Exception as error:  # noqa: BLE001  (a library's; telling must not end the telling)
            log.warning("the figures could not be sent: %s", type(error).__name__)
        else:
            if result is not MetricExportResult.SUCCESS:
                log.warning("the figures were not taken")

    def _data(self) -> MetricsData:
        now_ns = time.time_ns()
        metrics = [self._metric(reading, now_ns) for reading in self._read() if reading.samples]
        scope = ScopeMetrics(self._scope, metrics, "")
        return MetricsData([ResourceMetrics(self._resource, [scope], "")])

    def _metric(self, reading: Reading, now_ns: int) -> Metric:
        figure = reading.figure
        points = [self._point(figure, sample, now_ns) for sample in reading.samples]
        numbers = [point for point in points if isinstance(point, NumberDataPoint)]
        counts = [point for point in points if isinstance(point, HistogramDataPoint)]
        data: Sum | Gauge | Histogram
        match figure.kind:
            case "counter":
                data = Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True)
            case "gauge":
                data = Gauge(numbers)
            case "histogram":
                data = Histogram(counts, AggregationTemporality.CUMULATIVE)
        return Metric(figure.name, figure.meaning, figure.unit, data)

    def _point(self, figure: Figure, sample: Sample, now_ns: int) -> NumberDataPoint | HistogramDataPoint:
        told = zip(figure.attributes, sample.values, strict=True)
        attributes = {name: value for name, value in told if value}
        value = sample.value
        if not isinstance(value, Counts):
            return NumberDataPoint(attributes, self._began_ns, now_ns, float(value))
        return HistogramDataPoint(
            attributes=attributes,
            start_time_unix_nano=self._began_ns,
            time_unix_nano=now_ns,
            count=sum(value.buckets),
            sum=value.total,
            bucket_counts=list(value.buckets),
            explicit_bounds=list(figure.bounds),
            min=UNKNOWN,
            max=UNKNOWN,
        )

    async def close(self) -> None:
        """Sends the last figures, if somebody takes them."""
        giving_up = asyncio.get_running_loop().call_later(CLOSES_WITHIN_S, self._exporter.shutdown)
        await self._send()
        if giving_up.when() > asyncio.get_running_loop().time():
            giving_up.cancel()
            self._exporter.shutdown()
