"""What is noted of a call, first byte to last: the span of a sampled one, and the log line of each."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
from msgspec.structs import replace

from events.config import Config
from events.words import ApiKey, Usage
from functions.request.admission import Admitted
from services.front.call import Call, Listener, Reply
from services.router.order import Order
from services.telemetry import names
from services.telemetry.access import AccessLog, Finished
from services.telemetry.context import Context, Sampler, context_in
from services.telemetry.spans import Span, Tracer, Value
from services.telemetry.users import Users
from services.wire.fields import Fields

UNWATCHED = frozenset({b"/health", b"/ready"})  # probes come every few seconds, and tell by failing
TRACEPARENT = b"traceparent"
NOT_SAMPLED = b"-00"
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
        self._follows = sampler.by_parent

    def __call__(self, call: Call, reply: Reply) -> Reply:
        """The reply to answer by. The `traceparent` of a sampled call is from here on that of its span."""
        tracer, header, parent, sampled = self.tracer, call.headers.get(TRACEPARENT), None, False
        if tracer is not None and not (header is not None and self._follows and header.endswith(NOT_SAMPLED)):
            parent = context_in(header)
            sampled = self.sampler.samples(parent)
        if not (sampled or self.access is not None) or call.path in UNWATCHED:
            return reply
        watched = Watched(self, call, reply)
        if sampled:
            watched.sample(parent)
        return watched


class Watched:
    """One call: the endpoint's `Reply`, and the connection's `Listener`.

    Whoever runs the call at engines says so first (`runs`) and tells its end (`ended`); every other call is
    over with its reply. What can be made out later is: the log's thread asks for the `line`.
    """

    listener: Listener | None = None
    asked = tenant = key = model = backend = code = outcome = ""
    status = attempts = 0
    stream: bool | None = None
    usage: Usage | None = None
    _user = ""
    _fields: Fields = b""
    _span: Span | None = None
    _attempt: Span | None = None
    _first_s: float | None = None
    _ran = _running = _replied = _over = False
    _took_s = 0.0

    def __init__(self, watch: Watch, call: Call, reply: Reply) -> None:
        self._watch = watch
        self._began = watch.clock()
        self._call: Call | None = call
        self._reply: Reply = reply
        self._method, self._path, self._headers = call.method, call.path, call.headers
        self.write = reply.write  # past us: an answer is written in many pieces
        call.watched = self
        reply.listener = self

    def sample(self, parent: Context | None) -> None:
        """It gets a span, of which all further work is a part."""
        tracer = self._watch.tracer
        if tracer is not None:
            method, route = self._method.decode("latin-1"), _route(self._path)
            told: dict[str, Value] = {names.METHOD: method, names.ROUTE: route}
            self._span = tracer.begin(f"{method} {route}", "server", parent, told)
            self._headers[TRACEPARENT] = self._span.context.header

    # --- the reply

    def send(self, status: int, fields: Fields, body: bytes) -> None:
        """See `Reply`."""
        self.status, self._fields = status, fields
        self._replied = True
        if status >= 400 and not self._ran:  # of an engine's refusal, the code is the engine's word
            self.code = _code_in(body)
        self._reply.send(status, fields, body)
        if not self._running:
            self._finish(self.outcome)

    def start(self, status: int, fields: Fields) -> None:
        """See `Reply`."""
        self.status, self._fields = status, fields
        self._reply.start(status, fields)

    def finish(self) -> None:
        """See `Reply`."""
        self._replied = True
        self._reply.finish()
        if not self._running:
            self._finish(self.outcome)

    def abort(self) -> None:
        """See `Reply`."""
        self._replied = True
        self._reply.abort()
        if not self._running:
            self._finish(self.outcome or "aborted")

    # --- the connection

    def client_gone(self) -> None:
        """See `Listener`."""
        if self.listener is not None:
            self.listener.client_gone()
        self._finish(self.outcome or "client_gone")

    def client_paused(self) -> None:
        """See `Listener`."""
        if self.listener is not None:
            self.listener.client_paused()

    def client_resumed(self) -> None:
        """See `Listener`."""
        if self.listener is not None:
            self.listener.client_resumed()

    # --- whoever answers

    def asked_by(self, key: ApiKey) -> None:
        """Who asks."""
        self.tenant, self.key = key.tenant, key.id

    def admitted(self, admitted: Admitted, body: bytes) -> None:
        """For what: a name the configuration knows."""
        self.asked, self.stream = admitted.model, admitted.stream
        users = self._watch.users
        if users is not None:
            self._user = users.hashed(self.tenant, body)

    def runs(self) -> None:
        """The call is run at engines: its end will be told."""
        self._ran = self._running = True

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

    def ended(self, order: Order, outcome: str, usage: Usage, first_s: float | None) -> None:
        """All attempts are over. `first_s`: from the beginning to the first part of the answer."""
        self.model, self.backend, self.usage, self._first_s = order.model, order.backend, usage, first_s
        if self._attempt is not None:
            self._attempt.attributes |= _used(usage, first_s)
        self.attempt_ended("" if outcome == "finished" else outcome)
        self.outcome, self._running = outcome, False
        if self._replied:  # else the answer is still on its way, through whoever keeps it first
            self._finish(outcome)

    def failed(self) -> None:
        """An endpoint failed, and a 500 is the answer."""
        self.status, self.code = 500, "internal_error"
        self._finish("refused")

    # --- the end

    def _finish(self, outcome: str) -> None:
        if self._over:
            return
        self._over = True
        watch, call = self._watch, self._call
        self._took_s = watch.clock() - self._began
        self.listener = self._call = None
        if call is not None:
            call.watched = None  # the body is not ours to hold, nor anything that refers to us
        self._reply, self.write = NOWHERE, NOWHERE.write
        self.outcome = outcome or ("refused" if self.status >= 400 else "finished")
        if watch.access is not None:
            watch.access.add(self)
        if self._span is not None and watch.tracer is not None:
            self._span.attributes |= self._told()
            failed = self.status >= 500 or self.outcome not in ("finished", "refused")
            watch.tracer.end(self._span, (self.code or self.outcome) if failed else "")

    def _told(self) -> Mapping[str, Value]:
        told: dict[str, Value] = {
            names.STATUS: self.status or GONE,
            names.REQUEST_ID: self._request_id,
            names.TENANT: self.tenant,
            names.REQUEST_MODEL: self.asked,
            names.RESPONSE_MODEL: self.model,
            names.BACKEND: self.backend,
            names.OUTCOME: self.outcome,
        }
        found = {name: value for name, value in told.items() if value}
        if self.usage is not None:
            found |= _used(self.usage, self._first_s)
        return found

    @property
    def _request_id(self) -> str:
        found = REQUEST_ID.search(self._fields)
        return found[1].decode() if found else ""

    def line(self) -> Finished:
        """See `Over`."""
        usage, span = self.usage, self._span
        context = span.context if span is not None else context_in(self._headers.get(TRACEPARENT))
        found = HIT.search(self._fields)
        return Finished(
            at_ns=time.time_ns() - int((self._watch.clock() - self._began) * 1e9),
            took_s=self._took_s,
            method=self._method,
            path=self._path,
            agent=self._headers.get(b"user-agent", b""),
            status=self.status or GONE,
            outcome=self.code or self.outcome,
            request=self._request_id,
            trace=context.trace_id if context is not None else "",
            span=context.span_id if context is not None else "",
            sampled=context is not None and context.sampled,
            tenant=self.tenant,
            key=self.key,
            user=self._user,
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


class _Nowhere:
    """The reply of a call that is over."""

    listener: Listener | None = None

    def send(self, status: int, fields: Fields, body: bytes) -> None:
        """See `Reply`."""

    def start(self, status: int, fields: Fields) -> None:
        """See `Reply`."""

    def write(self, data: bytes) -> None:
        """See `Reply`."""

    def finish(self) -> None:
        """See `Reply`."""

    def abort(self) -> None:
        """See `Reply`."""


NOWHERE = _Nowhere()


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
