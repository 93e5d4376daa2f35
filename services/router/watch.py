"""What is noted of a call, first byte to last: the span of a sampled one, and the log line of each."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
from msgspec.structs import replace

from events.config import Config
from events.usage import Outcome
from events.words import ApiKey, Usage
from functions.request.admission import Admitted
from services.front.call import Call, Listener, Reply
from services.router.order import Order
from services.telemetry import names
from services.telemetry.access import AccessLog, Finished
from services.telemetry.context import Context, Sampler, context_in, new_span_id, new_trace_id
from services.telemetry.spans import Span, Tracer, Value
from services.telemetry.users import Users
from services.wire.fields import Fields

UNWATCHED = frozenset({b"/health", b"/ready"})  # probes come every few seconds, and tell by failing
TRACEPARENT = b"traceparent"
REQUEST_ID = re.compile(rb"(?:^|\n)x-request-id: ([\w.-]{1,64})\r")
HIT = re.compile(rb"cache-status: penstock; (hit|fwd=\w+)")
CODE = re.compile(r"[a-z_]{1,64}")
ROUTES = (
    b"/v1/chat/completions", b"/v1/completions", b"/v1/embeddings", b"/v1/responses", b"/v1/requests",
    b"/v1/models", b"/admin/v1",
)  # fmt: skip
GONE = 499  # no status was sent: nginx's, for a client that left


class Replica(Protocol):
    """Where an attempt goes."""

    @property
    def host(self) -> str:
        """Its name or address."""

    @property
    def port(self) -> int:
        """Its port."""


class Watch:
    """Watches calls. One neither sampled nor logged passes untouched, at the cost of that decision."""

    def __init__(
        self,
        sampler: Sampler,
        tracer: Tracer | None,
        access: AccessLog | None,
        *,
        config: Callable[[], Config],
        users: Users | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sampler = sampler
        self.tracer = tracer
        self.access = access
        self.config = config
        self.users = users
        self.clock = clock

    def __call__(self, call: Call, reply: Reply) -> Reply:
        """The reply to answer by. The call's `traceparent` is from here on that of its span."""
        parent = context_in(call.headers.get(TRACEPARENT))
        sampled = self.tracer is not None and self.sampler.samples(parent)
        if not (sampled or self.access is not None) or call.path in UNWATCHED:
            return reply
        return Watched(self, call, reply, parent, sampled=sampled)


class Watched:
    """One call: the endpoint's `Reply`, and the connection's `Listener`.

    Whoever runs the call at engines says so first (`runs`) and tells its end (`ended`); every other call is
    over with its reply.
    """

    __slots__ = (
        "_attempt", "_began", "_began_ns", "_body_user", "_call", "_context", "_fields", "_first_s",
        "_listener", "_over", "_reply", "_running", "_span", "_watch", "asked", "attempts", "backend", "code",
        "key", "model", "status", "stream", "tenant", "usage", "write",
    )  # fmt: skip

    def __init__(
        self, watch: Watch, call: Call, reply: Reply, parent: Context | None, *, sampled: bool
    ) -> None:
        self._watch = watch
        self._call = call
        self._reply = reply
        self._began = watch.clock()
        self._began_ns = time.time_ns()
        self._listener: Listener | None = None
        self._fields: Fields = b""
        self._attempt: Span | None = None
        self._running = self._over = False
        self._first_s: float | None = None
        self._body_user = ""
        self.asked = self.tenant = self.key = self.model = self.backend = self.code = ""
        self.status = self.attempts = 0
        self.stream: bool | None = None
        self.usage: Usage | None = None
        self.write = reply.write  # past us: an answer is written in many pieces
        self._span = self._begun(parent) if sampled else None
        self._context = self._placed(parent)
        call.headers[TRACEPARENT] = self._context.header
        call.watched = self
        reply.listener = self

    def _begun(self, parent: Context | None) -> Span | None:
        tracer, route = self._watch.tracer, _route(self._call.path)
        method = self._call.method.decode("latin-1")
        told: dict[str, Value] = {names.METHOD: method, names.ROUTE: route}
        return tracer.begin(f"{method} {route}", "server", parent, told) if tracer is not None else None

    def _placed(self, parent: Context | None) -> Context:
        """What the call's own work is a part of; where nothing is sampled, still one trace for all logs."""
        if self._span is not None:
            return self._span.context
        trace_id = new_trace_id() if parent is None else parent.trace_id
        return Context(trace_id=trace_id, span_id=new_span_id(), sampled=False)

    # --- the reply

    @property
    def listener(self) -> Listener | None:
        """See `Reply`."""
        return self._listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self._listener = listener

    def send(self, status: int, fields: Fields, body: bytes) -> None:
        """See `Reply`."""
        self.status, self._fields = status, fields
        if status >= 400 and not self._running:
            self.code = _code_in(body)
        self._reply.send(status, fields, body)
        if not self._running:
            self._finish("")

    def start(self, status: int, fields: Fields) -> None:
        """See `Reply`."""
        self.status, self._fields = status, fields
        self._reply.start(status, fields)

    def finish(self) -> None:
        """See `Reply`."""
        self._reply.finish()
        if not self._running:
            self._finish("")

    def abort(self) -> None:
        """See `Reply`."""
        self._reply.abort()
        if not self._running:
            self._finish("aborted")

    # --- the connection

    def client_gone(self) -> None:
        """See `Listener`."""
        if self._listener is not None:
            self._listener.client_gone()
        self._finish("client_gone")

    def client_paused(self) -> None:
        """See `Listener`."""
        if self._listener is not None:
            self._listener.client_paused()

    def client_resumed(self) -> None:
        """See `Listener`."""
        if self._listener is not None:
            self._listener.client_resumed()

    # --- whoever answers

    def admitted(self, key: ApiKey, admitted: Admitted, body: bytes) -> None:
        """Who asks, and for what: a name the configuration knows."""
        self.tenant, self.key = key.tenant, key.id
        self.asked, self.stream = admitted.model, admitted.stream
        users = self._watch.users
        if users is not None:
            self._body_user = users.hashed(key.tenant, body)

    def runs(self) -> None:
        """The call is run at engines: its end will be told."""
        self._running = True

    def attempt(self, order: Order, replica: Replica) -> Order:
        """An attempt begins; the order as it is then carried out. One that still runs was in vain."""
        self.attempts += 1
        tracer = self._watch.tracer
        if self._span is None or tracer is None:
            return order
        self.attempt_ended("unreachable")
        self._attempt = span = tracer.begin(
            f"{names.operation_of(order.path)} {order.model}",
            "client",
            self._span.context,
            {
                **_place_of(order, self._watch.config()),
                names.SERVER_ADDRESS: replica.host,
                names.SERVER_PORT: replica.port,
                names.ATTEMPT: self.attempts,
                names.STREAM: order.stream,
            },
        )
        return replace(order, fields=b"traceparent: %b\r\n" % span.context.header)

    def attempt_ended(self, error: str) -> None:
        """An attempt that another one follows has ended so."""
        tracer, span = self._watch.tracer, self._attempt
        if tracer is not None and span is not None:
            self._attempt = None
            tracer.end(span, error)

    def ended(self, order: Order, outcome: Outcome, usage: Usage, first_s: float | None) -> None:
        """All attempts are over. `first_s`: from the beginning to the first part of the answer."""
        self.model, self.backend, self.usage, self._first_s = order.model, order.backend, usage, first_s
        if self._attempt is not None:
            self._attempt.attributes |= _used(usage, first_s)
        self.attempt_ended("" if outcome == "finished" else outcome)
        self._finish(outcome)

    # --- the end

    def _finish(self, outcome: str) -> None:
        if self._over:
            return
        self._over = True
        self._listener = self._call.watched = None
        outcome = outcome or ("refused" if self.status >= 400 else "finished")
        if self.status == 0:
            self.status = GONE
        watch = self._watch
        if watch.access is not None:
            watch.access.add(self._line(outcome))
        if self._span is not None and watch.tracer is not None:
            self._span.attributes |= self._told(outcome)
            error = "" if outcome == "finished" else self.code or outcome
            watch.tracer.end(self._span, error if self.status >= 500 or outcome != "refused" else "")

    def _told(self, outcome: str) -> Mapping[str, Value]:
        told: dict[str, Value] = {
            names.STATUS: self.status,
            names.REQUEST_ID: self._request_id,
            names.TENANT: self.tenant,
            names.REQUEST_MODEL: self.asked,
            names.RESPONSE_MODEL: self.model,
            names.BACKEND: self.backend,
            names.OUTCOME: outcome,
        }
        found = {name: value for name, value in told.items() if value}
        if self.usage is not None:
            found |= _used(self.usage, self._first_s)
        return found

    @property
    def _request_id(self) -> str:
        found = REQUEST_ID.search(self._fields)
        return found[1].decode() if found else ""

    def _line(self, outcome: str) -> Finished:
        call, context, usage = self._call, self._context, self.usage
        found = HIT.search(self._fields) if b"cache-status" in self._fields else None
        return Finished(
            at_ns=self._began_ns,
            took_s=self._watch.clock() - self._began,
            method=call.method,
            path=call.path,
            agent=call.headers.get(b"user-agent", b""),
            status=self.status,
            outcome=self.code or outcome,
            request=self._request_id,
            trace=context.trace_id,
            span=context.span_id,
            sampled=context.sampled,
            tenant=self.tenant,
            key=self.key,
            user=self._body_user,
            asked=self.asked,
            model=self.model,
            backend=self.backend,
            cache=found[1].decode() if found else "",
            stream=self.stream,
            attempts=self.attempts,
            first_s=self._first_s,
            input=usage.input if usage is not None else None,
            output=usage.output if usage is not None else None,
        )


class _Error(msgspec.Struct):
    code: str | None = None


class _Body(msgspec.Struct):
    error: _Error


_error = msgspec.json.Decoder(_Body)


def _code_in(body: bytes) -> str:
    """The code of a refusal of ours."""
    try:
        code = _error.decode(body).error.code or ""
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return code if CODE.fullmatch(code) else ""


def _route(path: bytes) -> str:
    """The path without what names one thing; "/" for what is none of ours."""
    return next((route.decode() for route in ROUTES if path.startswith(route)), "/")


def _place_of(order: Order, config: Config) -> dict[str, Value]:
    backend = config.backends.get(order.backend)
    return {
        names.OPERATION: names.operation_of(order.path),
        names.PROVIDER: names.provider_of(backend.kind, backend.auth) if backend is not None else "openai",
        names.REQUEST_MODEL: order.model,
        names.BACKEND: order.backend,
    }


def _used(usage: Usage, first_s: float | None) -> dict[str, Value]:
    told: dict[str, Value] = {names.INPUT_TOKENS: usage.input, names.OUTPUT_TOKENS: usage.output}
    return told if first_s is None else told | {names.TIME_TO_FIRST_CHUNK: first_s}
