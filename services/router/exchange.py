"""One synchronous request under way: the client on one side, its attempts at an engine on the other."""

from typing import TYPE_CHECKING

from events.usage import Outcome
from events.words import Problem, Refusal, server_problem
from services.front.call import Reply
from services.pool.replica import Replica
from services.router.attempt import Attempt
from services.router.order import Order
from services.wire.errors import error_body, error_event, error_fields
from services.wire.fields import JSON, Fields

if TYPE_CHECKING:
    from services.router.exchanges import Exchanges

EVENT_STREAM: Fields = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
ERROR_STATUS = {"deadline": 504, "shutdown": 503, "engine_unavailable": 503}  # by outcome or code; else 502


class Exchange:
    """Relays an attempt. Nothing reaches the client before it is billable.

    It is the attempt's `Caller` and the client's `Listener`; whatever happens first ends it, exactly
    once, in `_end`.
    """

    __slots__ = (
        "_all", "_attempt", "_began", "_failure", "_held", "_order", "_over", "_paused_at", "_replica",
        "_replied", "_reply", "_stale",
    )  # fmt: skip

    def __init__(self, exchanges: "Exchanges", order: Order, replica: Replica, reply: Reply) -> None:
        self._all = exchanges
        self._order = order
        self._replica = replica
        self._reply = reply
        self._began = exchanges.clock()
        self._paused_at = 0.0
        self._held: list[bytes] = []  # events the client is to get once they are billable
        self._replied = False  # a byte of the answer was written to the client
        self._failure: tuple[Outcome, Problem] | None = None  # to be told behind what is held
        self._stale = False  # the first attempt met a connection the engine had closed
        self._over = False
        self._attempt = Attempt(exchanges, order, self, 1)

    def begin(self) -> None:
        """Calls the engine."""
        self._attempt.fly(self._replica)

    # --- the attempt's side

    def relay(self, events: bytes) -> None:
        """See `Caller`."""
        if self._attempt.billable:
            self._write(events)
        else:
            self._held.append(events)

    def _write(self, events: bytes) -> None:
        if not self._replied:
            self._replied = True
            self._reply.start(200, self._order.reply_fields + EVENT_STREAM)
        self._reply.write(events)

    def answered(self) -> None:
        """See `Caller`."""
        attempt = self._attempt
        if not attempt.billable:
            return
        if attempt.streamed:
            self._reply.finish()
        else:
            self._replied = True
            self._reply.send(200, self._order.reply_fields + JSON, attempt.answer)
        self._end("finished")

    def now_billable(self) -> None:
        """See `Caller`."""
        if self._held:
            self._write(b"".join(self._held))
            self._held.clear()
        if self._failure is not None:
            self.broke(*self._failure)
        elif self._attempt.phase == "answered":
            self.answered()

    def stale(self) -> None:
        """See `Caller`: the next attempt has an id of its own, in case the engine did see this one."""
        if self._stale:
            self.broke("engine_died", server_problem("The engine keeps hanging up.", "engine_died"))
            return
        self._stale = True
        self._attempt.end("engine_died", billed=False)
        self._attempt = Attempt(self._all, self._order, self, 2)
        self._attempt.fly(self._replica)

    def broke(self, outcome: Outcome, problem: Problem) -> None:
        """See `Caller`: the client is told in-band where it has seen some of the answer, else by an error."""
        attempt = self._attempt
        attempt.cancel()
        may_wait = self._failure is None and attempt.phase != "answered" and outcome != "shutdown"
        if attempt.told_done and (attempt.billable or may_wait):
            attempt.phase = "answered"  # all was said: how the engine hangs up does not matter
            self.answered()
        elif self._replied:
            self._write(error_event(problem))
            self._reply.finish()
            self._end(outcome)
        elif self._held and may_wait:
            self._failure = (outcome, problem)  # the client gets what there is, once it may
        else:
            status = ERROR_STATUS.get(problem.code or "", ERROR_STATUS.get(outcome, 502))
            self.refuse(outcome, Refusal(status=status, problem=problem))

    def refuse(self, outcome: Outcome, refusal: Refusal) -> None:
        """See `Caller`."""
        fields = self._order.reply_fields + error_fields(refusal)
        self._reply.send(refusal.status, fields, error_body(refusal.problem))
        self._end(outcome)

    # --- the client's side

    def client_gone(self) -> None:
        """See `Listener`."""
        if not self._over:
            self._end("client_gone")

    def client_paused(self) -> None:
        """See `Listener`."""
        self._paused_at = self._all.clock()
        self._attempt.pause()

    def client_resumed(self) -> None:
        """See `Listener`."""
        self._paused_at = 0.0
        self._attempt.resume()

    # --- time

    def check(self, now: float) -> None:
        """Enforces the deadlines; called a few times a second."""
        attempt, limits = self._attempt, self._all.deadlines
        if self._paused_at and now - self._paused_at > limits.stalled_client_s:
            self._reply.abort()
            self.client_gone()
            return
        silent_s = 0.0 if self._paused_at else now - attempt.last_at
        late = limits.late(attempt.phase, now - self._began, silent_s)
        if late is not None:
            self.broke("deadline", late)
        else:
            attempt.report(now)

    def shut_down(self) -> None:
        """The process must stop."""
        self.broke("shutdown", server_problem("This server is shutting down; try again.", "shutting_down"))

    # --- the end

    def _end(self, outcome: Outcome) -> None:
        """The one end, whatever happened."""
        self._over = True
        self._held = []
        attempt = self._attempt
        attempt.end(outcome, billed=self._replied or outcome == "client_gone")
        self._all.open.discard(self)
        first_s = attempt.first_at - self._began if attempt.first_at else None
        duration_s = self._all.clock() - self._began
        self._all.metrics.ended(self._order.model, outcome, attempt.usage, duration_s, first_s)
