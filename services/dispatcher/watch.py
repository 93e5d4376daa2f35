"""What is noted of a run: spans, where its call is sampled, and a line of the access log."""

import time
from collections.abc import Callable
from typing import Protocol

from events.config import Backend, Place
from events.requests import RequestDocument, State
from events.usage import Completed
from services.telemetry import names
from services.telemetry.access import AccessLog, Finished
from services.telemetry.context import context_in
from services.telemetry.spans import Span, Tracer
from services.wire.fields import Fields, field


class Replica(Protocol):
    """Where an attempt goes."""

    @property
    def host(self) -> str:
        """Its name or address."""

    @property
    def port(self) -> int:
        """Its port."""


class RunWatch:
    """Watches the runs of a process."""

    def __init__(
        self,
        tracer: Tracer | None,
        access: AccessLog | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tracer = tracer
        self.access = access
        self.clock = clock

    def begin(self, document: RequestDocument) -> "WatchedRun":
        """A claimed request is run."""
        return WatchedRun(self, document)


class WatchedRun:
    """One run."""

    def __init__(self, watch: RunWatch, document: RequestDocument) -> None:
        self._watch = watch
        self._document = document
        self._began = watch.clock()
        self._began_ns = time.time_ns()
        self._call: Span | None = None
        self._span: Span | None = None
        if watch.tracer is not None:
            told = {names.REQUEST_ID: document.id, names.TENANT: document.tenant, names.LANE: document.lane}
            self._span = watch.tracer.follow("run request", "consumer", document.traceparent, told)

    def calls(self, place: Place, backend: Backend, replica: Replica) -> Fields:
        """The engine is called now; the header line that says on whose behalf."""
        tracer, span, document = self._watch.tracer, self._span, self._document
        if tracer is None or span is None:
            return field("traceparent", document.traceparent) if document.traceparent else b""
        operation = names.operation_of(document.url)
        self._call = tracer.begin(
            f"{operation} {place.model}",
            "client",
            span.context,
            {
                names.OPERATION: operation,
                names.PROVIDER: names.provider_of(backend.kind, backend.auth),
                names.REQUEST_MODEL: place.model,
                names.BACKEND: place.backend,
                names.SERVER_ADDRESS: replica.host,
                names.SERVER_PORT: replica.port,
                names.ATTEMPT: document.attempts,
            },
        )
        return b"traceparent: %b\r\n" % self._call.context.header

    def ended(self, state: State, done: Completed | None) -> None:
        """The run is over, and the request is in this state. `done`: what was recorded of its attempt."""
        outcome = done.outcome if done is not None else "shutdown" if state == "running" else state
        error = "" if outcome in ("finished", "completed") else outcome
        for span in (self._call, self._span):
            if span is None or self._watch.tracer is None:
                continue
            if done is not None:
                tokens = {names.INPUT_TOKENS: done.usage.input, names.OUTPUT_TOKENS: done.usage.output}
                span.attributes |= tokens
            self._watch.tracer.end(span, error)
        if self._watch.access is not None and (done is not None or state != "routed"):  # else it goes on
            self._watch.access.add(self._line(outcome, done))

    def _line(self, outcome: str, done: Completed | None) -> Finished:
        document = self._document
        parent = self._span.context if self._span is not None else context_in(document.traceparent.encode())
        return Finished(
            at_ns=self._began_ns,
            took_s=self._watch.clock() - self._began,
            outcome=outcome,
            request=document.id,
            trace=parent.trace_id if parent is not None else "",
            span=parent.span_id if parent is not None else "",
            sampled=parent is not None and parent.sampled,
            tenant=document.tenant,
            key=document.key_id,
            model=done.model if done is not None else document.model,
            backend=done.backend if done is not None else document.backend or "",
            attempts=document.attempts,
            input=done.usage.input if done is not None else None,
            output=done.usage.output if done is not None else None,
        )
