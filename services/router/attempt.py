"""One call to an engine for a synchronous request: what came back, what it used, and its records."""

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING, Protocol

from events.usage import Outcome, Progress
from events.words import Problem, Refusal, Usage, attempt_id, server_problem
from services.front.limits import FULL
from services.front.reading import grown
from services.pool.engine_errors import asked_pause_s, refusal_of
from services.pool.flight import Failure, Flight, Headers, value_of
from services.pool.replica import Replica
from services.pool.sse import estimate_output, read_answer
from services.pool.stream import EventStream
from services.router.order import Order, Phase
from services.router.records import completed, started

if TYPE_CHECKING:
    from services.router.exchanges import Exchanges

PASSES = frozenset({408, 425, 429, 500, 502, 503, 504, 529})  # trouble that may be over soon, or elsewhere
STAYS = frozenset({401, 403, 404})  # an engine that is set up wrong: another one may not be


class Caller(Protocol):
    """Who wanted the attempt; hears of it until it has ended it."""

    def relay(self, events: bytes) -> None:
        """Whole events of a streamed answer, which may be seen."""

    def answered(self) -> None:
        """The answer is whole. A stream's events were all relayed, or are once they may be seen."""

    def now_billable(self) -> None:
        """All that came may be seen; a stream's events were relayed."""

    def refuse(self, outcome: Outcome, refusal: Refusal) -> None:
        """There is no answer, but a refusal."""

    def declined(self, refusal: Refusal, after_s: float | None) -> None:
        """The engine does not answer now; it may in `after_s` seconds, where that is told, or another may."""

    def broke(self, outcome: Outcome, problem: Problem) -> None:
        """There will be no whole answer."""

    def unreachable(self) -> None:
        """No connection was made: nothing was sent, nothing is recorded, and nothing is owed."""

    def stale(self) -> None:
        """The engine had hung up before the call; it may have seen it, but most likely did not."""


class Attempt:
    """The engine's `Receiver` and the recorder's `Waiter`. It tells its caller, which ends it by `end`.

    The client may see of it what is `billable`: what will be on the bill even if we die now. Until the end,
    what came and was not passed on counts against the budget.
    """

    __slots__ = (
        "_all", "_caller", "_flight", "_headers", "_held", "_order", "_parts", "_progress_at", "_recorded",
        "_status", "_tokens", "_unsaved", "_usage", "answer", "began", "cut", "first_at", "id", "last_at",
        "phase", "stream",
    )  # fmt: skip

    def __init__(self, exchanges: "Exchanges", order: Order, caller: Caller, number: int) -> None:
        self._all = exchanges
        self._order = order
        self._caller = caller
        self.id = attempt_id(order.request_id, number)
        self.phase: Phase = "connecting"
        self.began = self.last_at = self._progress_at = exchanges.clock()
        self.first_at = 0.0  # when the first content came
        self._recorded = False  # a start was taken by the recorder
        self._unsaved = 0  # records that must be durable before the client sees anything
        self._flight: Flight | None = None
        self._status = 0
        self._headers: Headers = {}
        self.stream: EventStream | None = None  # where the engine answers with events
        self._parts: bytes | bytearray = (
            b""  # of an answer in one piece; of a stream what may not be seen yet
        )
        self.answer = b""  # in one piece, once it is whole
        self.cut = False  # by a guard
        self._held = 0  # bytes that count against the budget
        self._usage: Usage | None = None  # as the engine told it
        self._tokens = 0  # of output in an answer in one piece that does not tell it

    def fly(self, replica: Replica) -> None:
        """Calls the engine, unless nothing could be said of that."""
        if self._all.recorder.refuses:
            asyncio.get_running_loop().call_soon(self.not_durable)
            return
        order = self._order
        fields = b"x-penstock-attempt: %b\r\n%b" % (self.id.encode(), order.fields)
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
        if status == 200 and _tells_events(headers):
            self.stream = EventStream(wants_usage=self._order.wants_usage)

    def received(self, data: bytes) -> None:
        """See `Receiver`."""
        self.last_at = self._all.clock()
        if self.stream is not None:
            self._take_in(self.stream, data)
        elif self._held + len(data) > self._all.deadlines.answer_bytes:
            problem = server_problem("The engine's answer is too large.", "engine_error")
            self._caller.refuse("engine_error", Refusal(status=502, problem=problem))  # as the next would be
        elif self.hold(len(data)):
            self._parts = grown(self._parts, data) if self._parts else data

    def completed(self) -> None:
        """See `Receiver`."""
        self._flight = None
        if self.stream is not None:
            self._end_of_stream(self.stream)
            return
        self.answer, self._parts = bytes(self._parts), b""
        if self._status == 200:
            self._whole_answer()
        else:
            refusal = refusal_of(self._status, self._headers, self.answer, self._order.model)
            if self._status in PASSES:
                self._caller.declined(refusal, asked_pause_s(self._headers))
            elif self._status in STAYS:
                self._caller.declined(refusal, math.inf)
            else:
                self._caller.refuse("engine_error", refusal)

    def failed(self, failure: Failure) -> None:
        """See `Receiver`."""
        self._flight = None
        if failure.kind == "stale":
            self._caller.stale()
        elif failure.kind == "connect":
            self._caller.unreachable()
        else:
            self._broke("engine_died", "The engine broke off before its answer was whole.", "engine_died")

    # --- a streamed answer

    def _take_in(self, stream: EventStream, data: bytes) -> None:
        unfinished = stream.unfinished
        try:
            events = stream.feed(data)
        except ValueError as error:
            self._broke("engine_error", f"The engine's stream is broken: {error}.", "engine_error")
            return
        self._usage = stream.usage
        if events and not self._pass_on(events):
            return
        if stream.failed:
            self._broke("engine_error", f"The engine for {self._order.model} failed.", "engine_error")
        elif stream.unfinished != unfinished:
            self.hold(stream.unfinished - unfinished)

    def _pass_on(self, events: bytes) -> bool:
        """Gives events to the caller, or keeps them until they may be seen; False where that ended it."""
        if self.first_at and not self._unsaved and not self._parts:  # nearly always
            self._caller.relay(events)
            return self.phase != "over"
        if not self.first_at and self.has_begun:
            self.first_at = self.last_at
        if self.may_be_seen:
            if self._parts:
                events = self._taken_from_hold() + events
            self._caller.relay(events)
            return self.phase != "over"
        if self._unsaved:
            self._all.recorder.hurry()
        if not self.hold(len(events)):
            return False
        self._parts = grown(self._parts, events) if self._parts else events
        return True

    def _end_of_stream(self, stream: EventStream) -> None:
        events = stream.end()
        if events and not self._pass_on(events):
            return
        if stream.done:
            self.phase = "answered"
            self._caller.answered()
        else:
            self._broke("engine_died", "The engine's stream ended unfinished.", "engine_died")

    # --- an answer in one piece

    def _whole_answer(self) -> None:
        if self._order.stream:  # whoever reads events would find none in it
            self._broke("engine_error", "The engine answered without a stream.", "engine_error")
            return
        try:
            self._usage = read_answer(self.answer)
        except ValueError:
            self._broke("engine_error", "The engine's answer is no completion.", "engine_error")
            return
        if self._usage is None:
            self._tokens = estimate_output(self.answer)
        self.first_at = self.last_at
        self.phase = "answered"
        if self.last_at - self.began >= self._all.deadlines.progress_every_s:
            # Its tokens, more than a crash may lose, were not counted while they were made.
            self._unsaved += 1
            if not self._all.recorder.durably(self._progress(), self):
                self.not_durable()
                return
        if self._unsaved:
            self._all.recorder.hurry()
        self._caller.answered()

    # --- the recorder's side

    @property
    def billable(self) -> bool:
        """Whether the client may see what came."""
        return not self._unsaved

    def durable(self) -> None:
        """See `Waiter`."""
        self._unsaved -= 1
        if self._unsaved or self.phase == "over":
            return
        if self.may_be_seen and self._parts:
            self._caller.relay(self._taken_from_hold())
        if not self.is_over:
            self._caller.now_billable()

    @property
    def may_be_seen(self) -> bool:
        """Whether events of a stream may go to the client: not before they tell a part of the answer, since
        until then another attempt may take this one's place unseen.
        """
        return not self._unsaved and self.has_begun

    @property
    def has_begun(self) -> bool:
        """Whether a part of a streamed answer came."""
        return self.stream is not None and self.stream.begun

    def _taken_from_hold(self) -> bytes:
        events, self._parts = bytes(self._parts), b""
        self._held -= len(events)
        self._all.budget.give_back(len(events))
        return events

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
    def is_over(self) -> bool:
        """Whether its caller has ended it."""
        return self.phase == "over"

    @property
    def told_done(self) -> bool:
        """Whether a stream was told to its end."""
        return self.stream is not None and self.stream.done

    @property
    def usage(self) -> Usage:
        """What the engine reported, else our estimate."""
        return self._usage or Usage(
            input=self._order.input_estimate,
            output=self._tokens if self.stream is None else self.stream.tokens,
        )

    @property
    def counted(self) -> bool:
        """Whether the engine reported its usage."""
        return self._usage is not None

    # --- memory

    def hold(self, size: int) -> bool:
        """Takes room for bytes that came and cannot be passed on yet; without room, that is the end."""
        if self._all.budget.take(size):
            self._held += size
            return True
        problem = server_problem(FULL, "overloaded")
        if self.stream is None or self._unsaved:  # nothing was seen of it, so all of it may be tried again
            self._caller.refuse("engine_error", Refusal(status=503, problem=problem, retry_after_s=1))
        else:
            self._caller.broke("engine_error", problem)
        return False

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

    def give_up(self) -> None:
        """Hangs up, because the engine takes too long."""
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.give_up()

    def end(self, outcome: Outcome, now: float, *, billed: bool) -> None:
        """The one end: hangs up where that is still to do, and records the completion."""
        self.cancel()
        self.phase = "over"
        del self._caller  # it holds us: without the circle both are freed at once, not by the collector
        self._parts = self.answer = b""
        self._all.budget.give_back(self._held)
        self._held = 0
        if not self._recorded:
            return
        record = completed(
            self._order,
            self.id,
            self._all.now(),
            outcome,
            self.usage,
            counted=self.counted,
            billed=billed,
            duration_s=now - self.began,
            first_byte_s=self.first_at - self.began if self.first_at else None,
        )
        if billed and self._order.later is not None:
            self._order.later.do(partial(self._all.recorder.add, record))
        else:
            self._all.recorder.add(record)

    def _broke(self, outcome: Outcome, message: str, code: str) -> None:
        self._caller.broke(outcome, server_problem(message, code))


def _tells_events(headers: Headers) -> bool:
    return (value_of(headers, b"content-type") or b"").lower().startswith(b"text/event-stream")
