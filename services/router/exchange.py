"""One synchronous request under way: the client on one side, an attempt at an engine on the other."""

import asyncio
from typing import TYPE_CHECKING

from events.usage import Outcome, Progress
from events.words import Problem, Refusal, Usage, server_problem
from services.front.call import JSON, Fields, Reply
from services.pool.engine_errors import refusal_of
from services.pool.flight import Failure, Flight, Headers
from services.pool.replica import Replica
from services.pool.sse import (
    DONE_EVENT,
    TELLS_USAGE,
    EventBuffer,
    before_error,
    read_answer,
    says_done,
    take_usage,
)
from services.router.errors import error_body, error_event, error_fields
from services.router.order import Order, Phase
from services.router.records import completed, started

if TYPE_CHECKING:
    from services.router.exchanges import Exchanges

EVENT_STREAM: Fields = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
ERROR_STATUS = {"deadline": 504, "shutdown": 503, "engine_unavailable": 503}  # by outcome or code; else 502


class Exchange:
    """Relays one attempt. Nothing reaches the client before the attempt's start is durable.

    It is the engine's `Receiver`, the client's `Listener` and the recorder's `Waiter`; whatever
    happens first ends it, exactly once, in `_end`.
    """

    __slots__ = (
        "_all", "_began", "_buffer", "_durable", "_events", "_failure", "_first_at", "_flight", "_headers",
        "_held", "_last_at", "_order", "_paused_at", "_phase", "_progress_at", "_recorded", "_replied",
        "_reply", "_size", "_status", "_streamed", "_told_done", "_usage",
    )  # fmt: skip

    def __init__(self, exchanges: "Exchanges", order: Order, reply: Reply) -> None:
        self._all = exchanges
        self._order = order
        self._reply = reply
        self._phase: Phase = "connecting"
        self._began = self._last_at = self._progress_at = exchanges.clock()
        self._first_at = 0.0
        self._paused_at = 0.0
        self._flight: Flight | None = None
        self._status = 0
        self._headers: Headers = []
        self._streamed = False  # the engine answers with events
        self._buffer = EventBuffer()
        self._held: list[bytes] = []  # what the client is to get once the start is durable
        self._size = 0
        self._events = 0
        self._recorded = False  # a start was taken by the recorder
        self._durable = False
        self._replied = False  # a byte of the answer was written to the client
        self._told_done = False
        self._usage: Usage | None = None
        self._failure: tuple[Outcome, Problem] | None = None

    def fly(self, replica: Replica) -> None:
        """Calls the engine."""
        order = self._order
        flight = replica.send(order.path, order.fields, order.body, self)
        if self._phase != "over":
            self._flight = flight

    # --- the engine's side

    def sent(self) -> None:
        """See `Receiver`: from here on the engine may be working, so from here on there is a record."""
        self._phase = "waiting"
        self._last_at = self._all.clock()
        record = started(self._order, self._all.now())
        self._recorded = self._all.recorder.started(record, self)
        if not self._recorded:
            asyncio.get_running_loop().call_soon(self.not_durable)

    def responded(self, status: int, headers: Headers) -> None:
        """See `Receiver`."""
        self._phase = "answering"
        self._last_at = self._all.clock()
        self._status = status
        self._headers = headers
        self._streamed = status == 200 and any(
            name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers
        )

    def received(self, data: bytes) -> None:
        """See `Receiver`."""
        self._last_at = self._all.clock()
        if self._streamed:
            self._relay(data)
            return
        self._size += len(data)
        if self._size > self._all.deadlines.answer_bytes:
            self._break("engine_error", server_problem("The engine's answer is too large.", "engine_error"))
        else:
            self._held.append(data)

    def completed(self) -> None:
        """See `Receiver`."""
        self._flight = None
        if self._streamed:
            self._complete_stream()
        elif self._status == 200:
            self._complete_answer()
        else:
            self._complete_error()

    def failed(self, failure: Failure) -> None:
        """See `Receiver`."""
        self._flight = None
        if failure.kind == "connect":
            problem = server_problem(
                f"The engine for {self._order.model} cannot be reached.", "engine_unavailable"
            )
        else:
            problem = server_problem("The engine broke off before its answer was whole.", "engine_died")
        self._break("engine_died", problem)

    # --- a streamed answer

    def _relay(self, data: bytes) -> None:
        try:
            events = self._buffer.feed(data)
        except ValueError as error:
            self._break(
                "engine_error", server_problem(f"The engine's stream is broken: {error}.", "engine_error")
            )
            return
        if events:
            self._relay_events(events)

    def _relay_events(self, events: bytes) -> None:
        events, is_error = before_error(events)
        if events:
            self._pass_on(events)
        if is_error:
            problem = server_problem(f"The engine for {self._order.model} failed.", "engine_error")
            self._break("engine_error", problem)

    def _pass_on(self, events: bytes) -> None:
        if b'"usage"' in events and TELLS_USAGE.search(events):
            events, usage = take_usage(events, keep=self._order.wants_usage)
            if usage is not None:
                self._usage = usage
        if says_done(events):
            self._told_done = True
        self._events += events.count(b"data:")
        if not self._first_at:
            self._first_at = self._last_at
        if self._durable:
            self._write(events)
        else:
            self._held.append(events)
            self._all.recorder.hurry()

    def _write(self, events: bytes) -> None:
        if not self._replied:
            self._replied = True
            self._reply.start(200, self._order.reply_fields + EVENT_STREAM)
        self._reply.write(events)

    def _complete_stream(self) -> None:
        if says_done(self._buffer.rest):
            self._relay_events(DONE_EVENT)
        if not self._told_done:
            self._break("engine_died", server_problem("The engine's stream ended unfinished.", "engine_died"))
            return
        self._phase = "answered"
        if self._durable:
            self._reply.finish()
            self._end("finished")

    # --- an answer in one piece

    def _complete_answer(self) -> None:
        body = b"".join(self._held)
        try:
            self._usage = read_answer(body)
        except ValueError:
            problem = server_problem("The engine's answer is no completion.", "engine_error")
            self._break("engine_error", problem)
            return
        self._held = [body]
        self._first_at = self._last_at
        self._phase = "answered"
        if self._durable:
            self._send_answer()
        else:
            self._all.recorder.hurry()

    def _send_answer(self) -> None:
        self._replied = True
        self._reply.send(200, self._order.reply_fields + JSON, self._held[0])
        self._end("finished")

    def _complete_error(self) -> None:
        refusal = refusal_of(self._status, self._headers, b"".join(self._held), self._order.model)
        self._refuse("engine_error", refusal)

    # --- the recorder's side

    def durable(self) -> None:
        """See `Waiter`: the client may see what is there."""
        self._durable = True
        if self._phase == "over":
            return
        if not self._streamed:
            if self._phase == "answered":
                self._send_answer()
            return
        if self._held:
            self._write(b"".join(self._held))
            self._held.clear()
        if self._failure is not None:
            self._break(*self._failure)
        elif self._phase == "answered":
            self._reply.finish()
            self._end("finished")

    def not_durable(self) -> None:
        """See `Waiter`: an answer that cannot be metered is not given."""
        if self._phase != "over":
            problem = server_problem("Usage cannot be recorded right now; try again.", "metering_unavailable")
            self._refuse("engine_error", Refusal(status=503, problem=problem, retry_after_s=1))

    # --- the client's side

    def client_gone(self) -> None:
        """See `Listener`."""
        if self._phase != "over":
            self._cancel()
            self._end("client_gone")

    def client_paused(self) -> None:
        """See `Listener`."""
        self._paused_at = self._all.clock()
        if self._flight is not None:
            self._flight.pause()

    def client_resumed(self) -> None:
        """See `Listener`."""
        self._paused_at = 0.0
        if self._flight is not None:
            self._flight.resume()
            self._last_at = self._all.clock()

    # --- time

    def check(self, now: float) -> None:
        """Enforces the deadlines; called a few times a second."""
        limits = self._all.deadlines
        if self._paused_at and now - self._paused_at > limits.stalled_client_s:
            self._cancel()
            self._reply.abort()
            self._end("client_gone")
            return
        idle_since = now if self._paused_at else self._last_at
        late = limits.late(self._phase, now - self._began, now - idle_since)
        if late is not None:
            self._break("deadline", late)
        elif self._recorded and now - self._progress_at >= limits.progress_every_s:
            self._progress_at = now
            record = Progress(attempt=self._order.attempt, at=self._all.now(), usage=self._produced())
            self._all.recorder.add(record)

    def shut_down(self) -> None:
        """The process must stop."""
        problem = server_problem("This server is shutting down; try again.", "shutting_down")
        self._break("shutdown", problem)

    # --- ends

    def _break(self, outcome: Outcome, problem: Problem) -> None:
        """Ends without a whole answer: in-band where the client has seen some of it, else as an error."""
        self._cancel()
        may_wait = self._failure is None and self._phase != "answered" and outcome != "shutdown"
        if self._told_done and (self._durable or may_wait):
            self._complete_stream()  # all was said: how the engine hangs up does not matter
        elif self._replied:
            self._write(error_event(problem))
            self._reply.finish()
            self._end(outcome)
        elif self._streamed and self._held and may_wait:
            self._failure = (outcome, problem)  # the client gets what there is, once it may
        else:
            status = ERROR_STATUS.get(problem.code or "", ERROR_STATUS.get(outcome, 502))
            self._refuse(outcome, Refusal(status=status, problem=problem))

    def _refuse(self, outcome: Outcome, refusal: Refusal) -> None:
        self._cancel()
        fields = self._order.reply_fields + error_fields(refusal)
        self._reply.send(refusal.status, fields, error_body(refusal.problem))
        self._end(outcome)

    def _cancel(self) -> None:
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.cancel()

    def _produced(self) -> Usage:
        """What the engine reported; else the input's estimate, and a token an event but the first."""
        return self._usage or Usage(input=self._order.input_estimate, output=max(0, self._events - 1))

    def _end(self, outcome: Outcome) -> None:
        """The one end: writes the completion, whatever happened."""
        self._phase = "over"
        self._all.open.discard(self)
        self._held = []
        now = self._all.clock()
        usage = self._produced()
        first = self._first_at - self._began if self._first_at else None
        self._all.metrics.ended(self._order.model, outcome, usage, now - self._began, first)
        if self._recorded:
            record = completed(
                self._order,
                self._all.now(),
                outcome,
                usage,
                counted=self._usage is not None,
                billed=self._replied or outcome == "client_gone",
                duration_s=now - self._began,
                first_byte_s=first,
            )
            self._all.recorder.add(record)
