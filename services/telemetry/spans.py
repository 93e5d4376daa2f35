"""Spans of sampled calls: made here, handed to whoever exports them. Nothing is made for other calls."""

import time
from collections.abc import Callable, Mapping
from typing import Literal

from services.telemetry.context import Context, context_in, new_span_id, new_trace_id

Kind = Literal["server", "client", "producer", "consumer", "internal"]
Value = str | int | float | bool


class Span:
    """A piece of work, from its beginning to its end, in ns since the epoch. `error` is its kind, or ""."""

    __slots__ = ("attributes", "began_ns", "context", "ended_ns", "error", "kind", "name", "parent")

    def __init__(
        self,
        name: str,
        kind: Kind,
        context: Context,
        parent: str,
        began_ns: int,
        attributes: dict[str, Value],
    ) -> None:
        self.name = name
        self.kind = kind
        self.context = context
        self.parent = parent  # the id of the span it is a part of, or ""
        self.began_ns = began_ns
        self.ended_ns = 0
        self.attributes = attributes
        self.error = ""


class Tracer:
    """Begins spans and passes on those that ended; `take` must neither raise nor wait."""

    def __init__(self, take: Callable[[Span], None], now_ns: Callable[[], int] = time.time_ns) -> None:
        self._take = take
        self._now_ns = now_ns

    def begin(
        self, name: str, kind: Kind, parent: Context | None, attributes: Mapping[str, Value] | None = None
    ) -> Span:
        """A span of a sampled call, in the trace of its parent or in one of its own."""
        trace_id = new_trace_id() if parent is None else parent.trace_id
        context = Context(trace_id=trace_id, span_id=new_span_id(), sampled=True)
        above = "" if parent is None else parent.span_id
        return Span(name, kind, context, above, self._now_ns(), dict(attributes or {}))

    def follow(
        self, name: str, kind: Kind, traceparent: str, attributes: Mapping[str, Value] | None = None
    ) -> Span | None:
        """A span of what a message or a document leads to; None where its call is not sampled."""
        parent = context_in(traceparent.encode())
        if parent is None or not parent.sampled:
            return None
        return self.begin(name, kind, parent, attributes)

    def end(self, span: Span, error: str = "") -> None:
        """It is over; only its first end counts."""
        if not span.ended_ns:
            span.ended_ns = self._now_ns()
            span.error = error
            self._take(span)
