"""One call to an engine for a synchronous request: what came back, what it used, and its records."""

import asyncio
from typing import TYPE_CHECKING, Protocol

from events.usage import Outcome, Progress
from events.words import Problem, Refusal, Usage, attempt_id, server_problem
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
from services.router.order import Order, Phase
from services.router.records import completed, started
from services.wire.fields import field

if TYPE_CHECKING:
    from services.router.exchanges import Exchanges


class Caller(Protocol):
    """Who wanted the attempt; hears of it until it has ended it."""

    def relay(self, events: bytes) -> None:
        """Whole events of a streamed answer; held back while the attempt is not billable."""

    def answered(self) -> None:
        """The answer is whole; a stream's events were all relayed."""

    def now_billable(self) -> None:
        """What was held back may be seen."""

    def refuse(self, outcome: Outcome, refusal: Refusal) -> None:
        """There is no answer, but a refusal."""

    def broke(self, outcome: Outcome, problem: Problem) -> None:
        """There will be no whole answer."""

    def stale(self) -> None:
        """The engine had hung up before the call; it may have seen it, but most likely did not."""


class Attempt:
    """The engine's `Receiver` and the recorder's `Waiter`. It tells its caller, which ends it by `end`.

    The client may see of it what is `billable`: what will be on the bill even if we die now.
    """

    __slots__ = (
        "_all", "_began", "_buffer", "_caller", "_events", "_flight", "_headers", "_order", "_parts",
        "_progress_at", "_recorded", "_size", "_status", "_unsaved", "_usage", "first_at", "id", "last_at",
        "phase", "streamed", "told_done",
    )  # fmt: skip

    def __init__(self, exchanges: "Exchanges", order: Order, caller: Caller, number: int) -> None:
        self._all = exchanges
        self._order = order
        self._caller = caller
        self.id = attempt_id(order.request_id, number)
        self.phase: Phase = "connecting"
        self._began = self.last_at = self._progress_at = exchanges.clock()
        self.first_at = 0.0  # when the first content came
        self._recorded = False  # a start was taken by the recorder
        self.told_done = False
        self._unsaved = 0  # records that must be durable before the client sees anything
        self._flight: Flight | None = None
        self._status = 0
        self._headers: Headers = []
        self.streamed = False  # the engine answers with events
        self._buffer = EventBuffer()
        self._parts: list[bytes] = []  # of an answer in one piece
        self._size = 0
        self._events = 0
        self._usage: Usage | None = None

    def fly(self, replica: Replica) -> None:
        """Calls the engine."""
        order = self._order
        fields = field("x-penstock-attempt", self.id) + order.fields
        flight = replica.send(order.path, fields, order.body, self)
        if self.phase != "over":
            self._flight = flight

    # --- the engine's side

    def sent(self) -> None:
        """See `Receiver`: from here on the engine may be working, so from here on there is a record."""
        self.phase = "waiting"
        self.last_at = self._all.clock()
        self._unsaved = 1
        self._recorded = self._all.recorder.durably(started(self._order, self.id, self._all.now()), self)
        if not self._recorded:
            asyncio.get_running_loop().call_soon(self.not_durable)

    def responded(self, status: int, headers: Headers) -> None:
        """See `Receiver`."""
        self.phase = "answering"
        self.last_at = self._all.clock()
        self._status = status
        self._headers = headers
        self.streamed = status == 200 and any(
            name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers
        )

    def received(self, data: bytes) -> None:
        """See `Receiver`."""
        self.last_at = self._all.clock()
        if self.streamed:
            self._take_in(data)
            return
        self._size += len(data)
        if self._size > self._all.deadlines.answer_bytes:
            self._broke("engine_error", "The engine's answer is too large.", "engine_error")
        else:
            self._parts.append(data)

    def completed(self) -> None:
        """See `Receiver`."""
        self._flight = None
        if self.streamed:
            self._end_of_stream()
        elif self._status == 200:
            self._whole_answer()
        else:
            body, model = b"".join(self._parts), self._order.model
            self._caller.refuse("engine_error", refusal_of(self._status, self._headers, body, model))

    def failed(self, failure: Failure) -> None:
        """See `Receiver`."""
        self._flight = None
        if failure.kind == "stale":
            self._caller.stale()
        elif failure.kind == "connect":
            message = f"The engine for {self._order.model} cannot be reached."
            self._broke("engine_died", message, "engine_unavailable")
        else:
            self._broke("engine_died", "The engine broke off before its answer was whole.", "engine_died")

    # --- a streamed answer

    def _take_in(self, data: bytes) -> None:
        try:
            events = self._buffer.feed(data)
        except ValueError as error:
            self._broke("engine_error", f"The engine's stream is broken: {error}.", "engine_error")
            return
        if events:
            self._relay(events)

    def _relay(self, events: bytes) -> None:
        events, is_error = before_error(events)
        if events:
            self._pass_on(events)
        if is_error:
            self._broke("engine_error", f"The engine for {self._order.model} failed.", "engine_error")

    def _pass_on(self, events: bytes) -> None:
        if b'"usage"' in events and TELLS_USAGE.search(events):
            events, usage = take_usage(events, keep=self._order.wants_usage)
            if usage is not None:
                self._usage = usage
        if says_done(events):
            self.told_done = True
        self._events += events.count(b"data:")
        if not self.first_at:
            self.first_at = self.last_at
        self._caller.relay(events)
        if self._unsaved:
            self._all.recorder.hurry()

    def _end_of_stream(self) -> None:
        if says_done(self._buffer.rest):
            self._relay(DONE_EVENT)
        if self.told_done:
            self.phase = "answered"
            self._caller.answered()
        else:
            self._broke("engine_died", "The engine's stream ended unfinished.", "engine_died")

    # --- an answer in one piece

    def _whole_answer(self) -> None:
        try:
            self._usage = read_answer(self.answer)
        except ValueError:
            self._broke("engine_error", "The engine's answer is no completion.", "engine_error")
            return
        self.first_at = self.last_at
        self.phase = "answered"
        if self.last_at - self._began >= self._all.deadlines.progress_every_s:
            # Its tokens, more than a crash may lose, were not counted while they were made.
            self._unsaved += 1
            if not self._all.recorder.durably(self._progress(), self):
                self.not_durable()
                return
        if self._unsaved:
            self._all.recorder.hurry()
        self._caller.answered()

    @property
    def answer(self) -> bytes:
        """What came of an answer in one piece."""
        return b"".join(self._parts)

    # --- the recorder's side

    @property
    def billable(self) -> bool:
        """Whether the client may see what came."""
        return not self._unsaved

    def durable(self) -> None:
        """See `Waiter`."""
        self._unsaved -= 1
        if not self._unsaved and self.phase != "over":
            self._caller.now_billable()

    def not_durable(self) -> None:
        """See `Waiter`: an answer that cannot be metered is not given."""
        if self.phase != "over":
            problem = server_problem("Usage cannot be recorded right now; try again.", "metering_unavailable")
            self._caller.refuse("engine_error", Refusal(status=503, problem=problem, retry_after_s=1))

    def report(self, now: float) -> None:
        """Records that it goes on, every `progress_every_s`."""
        if self._recorded and now - self._progress_at >= self._all.deadlines.progress_every_s:
            self._progress_at = now
            self._all.recorder.add(self._progress())

    def _progress(self) -> Progress:
        return Progress(attempt=self.id, at=self._all.now(), usage=self.usage)

    @property
    def usage(self) -> Usage:
        """What the engine reported; else the input's estimate, and a token an event but the first."""
        return self._usage or Usage(input=self._order.input_estimate, output=max(0, self._events - 1))

    # --- used by the caller

    def pause(self) -> None:
        """Stops reading."""
        if self._flight is not None:
            self._flight.pause()

    def resume(self) -> None:
        """Reads on."""
        if self._flight is not None:
            self._flight.resume()
            self.last_at = self._all.clock()

    def cancel(self) -> None:
        """Hangs up, in every phase."""
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.cancel()

    def end(self, outcome: Outcome, *, billed: bool) -> None:
        """The one end: hangs up where that is still to do, and records the completion."""
        self.cancel()
        self.phase = "over"
        if not self._recorded:
            return
        record = completed(
            self._order,
            self.id,
            self._all.now(),
            outcome,
            self.usage,
            counted=self._usage is not None,
            billed=billed,
            duration_s=self._all.clock() - self._began,
            first_byte_s=self.first_at - self._began if self.first_at else None,
        )
        self._all.recorder.add(record)

    def _broke(self, outcome: Outcome, message: str, code: str) -> None:
        self._caller.broke(outcome, server_problem(message, code))
