"""One synchronous request under way: the client on one side, its attempts at an engine on the other."""

import asyncio
from typing import TYPE_CHECKING

from events.config import Config
from events.usage import Outcome
from events.words import Problem, Refusal, server_problem
from functions.routing.cold import cold_refusal
from services.front.call import Reply
from services.front.limits import FULL
from services.guarding.guard import Watching
from services.pool.pool import Pool
from services.router.attempt import Attempt
from services.router.guarded import Guarded
from services.router.order import CONNECT_TIMEOUT
from services.router.tape import Tape
from services.router.watch import Watched
from services.router.way import Way
from services.wire.errors import CLOSING, error_body, error_event, error_fields
from services.wire.fields import JSON, Fields

if TYPE_CHECKING:
    from services.router.exchanges import Exchanges

EVENT_STREAM: Fields = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
KEEP_ALIVE = b": keep-alive\n\n"
UNAVAILABLE = "engine_unavailable"
# By outcome or code; else 502.
ERROR_STATUS = {"deadline": 504, "shutdown": 503, UNAVAILABLE: 503, "overloaded": 503}


class Exchange:
    """Relays an attempt. Nothing reaches the client before it is billable.

    Until a part of the answer was relayed, another attempt may take a failed one's place: each has an id of
    its own, and only the last one's is billed. It is the attempts' `Caller` and the client's `Listener`;
    whatever happens first ends it, exactly once, in `_end`.
    """

    __slots__ = (
        "_all", "_attempt", "_began", "_failure", "_guarded", "_kept_alive_at", "_number", "_order", "_over",
        "_paused", "_pausing", "_relayed", "_replied", "_reply", "_tape", "_watched", "_watching", "held",
        "way",
    )  # fmt: skip

    def __init__(
        self,
        exchanges: "Exchanges",
        way: Way,
        reply: Reply,
        tape: Tape | None,
        watched: Watched | None,
        watching: Watching | None = None,
    ) -> None:
        self._all = exchanges
        self.way = way
        self._order = way.order
        self._reply = reply
        self._tape = tape  # where the answer may be given again
        self._paused = False  # the client reads too slowly; the front ends that if it lasts
        self._replied = False  # the reply was begun
        self._relayed = False  # and a part of an answer went with it
        self._kept_alive_at = 0.0
        self._failure: tuple[Outcome, Problem] | None = None  # to be told behind what is held
        self._pausing: asyncio.TimerHandle | None = None  # before the next attempt
        self._over = False
        self.held = 0  # bytes that count against the budget while it waits for an engine
        self._number = 1
        self._watched = watched
        if watched is not None:
            watched.runs()
        self._watching = watching  # where a guard reads the answer
        self._attempt = self._new_attempt()
        self._began = self._attempt.began

    @property
    def model(self) -> str:
        """The model it is at."""
        return self._order.model

    @property
    def place(self) -> tuple[str, str]:
        """The backend, and the base URL of the replica that is called; "" while there is none."""
        return self._order.backend, self.way.replica.url if self.way.picked else ""

    @property
    def attempt(self) -> Attempt:
        """The one that was made last."""
        return self._attempt

    def begin(self) -> None:
        """Calls the engine."""
        self._attempt.fly(self.way.replica)

    def _new_attempt(self) -> Attempt:
        """Nothing that a guard heard of an earlier one counts."""
        order = self._order
        if self._watched is not None and self.way.picked is not None:
            order = self._watched.attempt(order, self.way.replica)
        self._guarded = None if self._watching is None else Guarded(self, self._watching)
        return Attempt(self._all, order, self._guarded or self, self._number)

    # --- the attempt's side

    def relay(self, events: bytes) -> None:
        """See `Caller`."""
        self._relayed = True
        self._start_reply()
        self._reply.write(events)
        if self._tape is not None:
            self._tape.add(events)

    def released(self, events: bytes) -> None:
        """Whole events that a guard lets out."""
        self._kept_alive_at = self._all.clock()  # it may hold back for long from here on
        self.relay(events)

    def cut(self) -> None:
        """A guard ended the stream; its end was relayed."""
        if not self._over:
            self._reply.finish()
            self._end("blocked")

    def _start_reply(self) -> None:
        if not self._replied:
            self._replied = True
            self._reply.start(200, self._fields() + EVENT_STREAM)

    def _fields(self) -> Fields:
        fields = self._order.reply_fields + self.way.route
        return fields if self._number == 1 else b"%bx-penstock-attempts: %d\r\n" % (fields, self._number)

    def answered(self) -> None:
        """See `Caller`."""
        attempt = self._attempt
        if not attempt.billable:
            return
        if attempt.stream is not None:
            self._reply.finish()
        else:
            self._replied = self._relayed = True
            self._reply.send(200, self._fields() + JSON, attempt.answer)
        self._end("blocked" if attempt.cut else "finished")

    def now_billable(self) -> None:
        """See `Caller`."""
        if self._failure is not None:
            self.broke(*self._failure)
        elif self._attempt.phase == "answered":
            self.answered()

    def unreachable(self) -> None:
        """See `Caller`."""
        if not self._try_another() and not self._wait_for_engine():
            message = f"The engine for {self._order.model} cannot be reached."
            self.broke("engine_died", server_problem(message, UNAVAILABLE))

    def _try_another(self) -> bool:
        """Calls the next replica at once, each once at most; False where there is no other."""
        if not self.way.elsewhere():
            return False
        self._attempt.cancel()
        self._take_way()
        self._attempt.fly(self.way.replica)
        return True

    def _take_way(self) -> None:
        """The next attempt, maybe at another place; what another model says is not noted for this one."""
        order, self._order = self._order, self.way.order
        if self._tape is not None and order.model != self._order.model:
            self._tape.end("engine_error", self._attempt)
            self._tape = None
        self._attempt = self._new_attempt()

    def stale(self) -> None:
        """See `Caller`: the next attempt has an id of its own, in case the engine did see this one."""
        if self._number > 1:
            self.broke("engine_died", server_problem("The engine keeps hanging up.", "engine_died"))
        else:
            self._next_attempt("engine_died")

    def declined(self, refusal: Refusal, after_s: float | None) -> None:
        """See `Caller`."""
        if not self._try_again("engine_error", after_s):
            self.refuse("engine_error", refusal)

    def _try_again(self, outcome: Outcome, after_s: float | None = None) -> bool:
        """Begins another attempt, where one may still take the failed one's place: elsewhere at once, or at
        the same replica in a while, `after_s` seconds or longer.
        """
        every = self._all
        late = every.clock() - self._began > (self._order.deadlines or every.deadlines).total_s
        if late or self._relayed or outcome == "shutdown" or not every.may_retry(self._number):
            return False
        if self.way.elsewhere():
            self._next_attempt(outcome)
            return True
        pause_s = every.retries.pause_s(self._number, after_s)
        if pause_s is None or not self.way.again():
            return False
        self._next_attempt(outcome, pause_s)
        return True

    def _next_attempt(self, outcome: Outcome, pause_s: float = 0.0) -> None:
        self._all.metrics.retried(self._order.model, outcome)
        self._attempt.end(outcome, self._all.clock(), billed=False)
        if self._watched is not None:
            self._watched.attempt_ended(outcome)
        if self._number == 1:
            self._all.retrying += 1
        self._number += 1
        self._failure = None
        self._take_way()
        if pause_s:
            self._attempt.phase = "pausing"
            self._pausing = asyncio.get_running_loop().call_later(pause_s, self._fly_after_pause)
        else:
            self._attempt.fly(self.way.replica)

    def _fly_after_pause(self) -> None:
        self._pausing = None
        self._attempt.phase = "connecting"
        self._attempt.last_at = self._all.clock()
        self._attempt.fly(self.way.replica)

    def broke(self, outcome: Outcome, problem: Problem) -> None:
        """See `Caller`: another attempt takes its place, or the client is told in-band where it has seen some
        of the answer, else by an error.
        """
        attempt = self._attempt
        attempt.cancel()
        may_wait = self._failure is None and attempt.phase != "answered" and outcome != "shutdown"
        if attempt.told_done and (attempt.billable or may_wait):
            attempt.phase = "answered"  # all was said: how the engine hangs up does not matter
            self.answered()
        elif self._try_again(outcome):
            return
        elif attempt.has_begun and not self._relayed and not attempt.billable and may_wait:
            self._failure = (outcome, problem)  # the client gets what there is, once it may
        else:
            self._tell(outcome, problem)

    def _tell(self, outcome: Outcome, problem: Problem) -> None:
        if self._replied:
            if self._guarded is not None:
                self._reply.write(self._guarded.rest())
            self._reply.write(error_event(problem))
            self._reply.finish()
            self._end(outcome)
        else:
            status = ERROR_STATUS.get(problem.code or "", ERROR_STATUS.get(outcome, 502))
            after_s = self._cold_s() if problem.code == UNAVAILABLE else None
            self.refuse(outcome, Refusal(status=status, problem=problem, retry_after_s=after_s))

    def refuse(self, outcome: Outcome, refusal: Refusal) -> None:
        """See `Caller`."""
        if self._replied:
            self._tell(outcome, refusal.problem)
            return
        fields = self._fields() + error_fields(refusal)
        self._reply.send(refusal.status, fields, error_body(refusal.problem))
        self._end(outcome)

    # --- while no engine can be reached

    def hold(self) -> None:
        """Waits for one from the start."""
        if not self._hold():
            problem = server_problem(FULL, "overloaded")
            self.refuse("engine_error", Refusal(status=503, problem=problem, retry_after_s=1))

    def _hold(self) -> bool:
        every = self._all
        if every.cold is None or not every.cold.join(self, len(self._order.body)):
            return False
        self._attempt.cancel()
        self._attempt.phase = "pausing"
        self.way.picked = None
        return True

    def _wait_for_engine(self) -> bool:
        """Whether it waits on, or somebody else answers it, as its caller wished."""
        patience = self.way.patience
        if patience is None or self._relayed:
            return False
        if patience.hold:
            return self._hold()
        if patience.enqueue is None or self._replied:
            return False
        self._end("engine_died", "queued")
        patience.enqueue()
        return True

    def go_on(self, pool: Pool, config: Config) -> bool:
        """An engine may be back: calls it; False where there is none for this one still."""
        if not self.way.begin_anew(pool, config):
            return False
        self._take_way()
        self._attempt.fly(self.way.replica)
        return True

    def give_up(self) -> None:
        """It has waited long enough, or in vain."""
        self.refuse("deadline", cold_refusal(self._order.model, self._cold_s() or 1))

    def _cold_s(self) -> int | None:
        cold = self._all.cold
        return None if cold is None else cold.left_s(self._order.backend)

    # --- the client's side

    def client_gone(self) -> None:
        """See `Listener`."""
        if not self._over:
            self._end("client_gone")

    def client_paused(self) -> None:
        """See `Listener`."""
        self._paused = True
        self._attempt.pause()

    def client_resumed(self) -> None:
        """See `Listener`."""
        self._paused = False
        self._attempt.resume()

    # --- time

    def check(self, now: float) -> None:
        """Enforces the deadlines; called a few times a second."""
        attempt, limits = self._attempt, self._order.deadlines or self._all.deadlines
        silent_s = 0.0 if self._paused else now - attempt.last_at
        late = limits.late(attempt.phase, now - self._began, silent_s)
        if late is None:
            attempt.report(now)
            if self._order.stream and (not self._relayed or self._guarded is not None):
                self._keep_alive(now)
        elif self.held:
            self.give_up()
        elif late.code != CONNECT_TIMEOUT or not (self._try_another() or self._wait_for_engine()):
            attempt.give_up()
            self.broke("deadline", late)

    def _keep_alive(self, now: float) -> None:
        """A client that waits long for a stream is shown that it will come. What is behind that can no
        longer be an error status.
        """
        every_s = self._all.deadlines.commit_after_s
        if self._attempt.billable and now - max(self._began, self._kept_alive_at) >= every_s:
            self._kept_alive_at = now
            self._start_reply()
            self._reply.write(KEEP_ALIVE)

    def shut_down(self) -> None:
        """The process must stop."""
        self.broke("shutdown", CLOSING.problem)

    # --- the end

    def _end(self, outcome: Outcome, counted_as: str = "") -> None:
        """The one end, whatever happened."""
        self._over = True
        self._guarded = None  # it holds us
        attempt, every, now = self._attempt, self._all, self._all.clock()
        if self._pausing is not None:
            self._pausing.cancel()
        if every.cold is not None:
            every.cold.ended(self)
        if self._number > 1:
            every.retrying -= 1
        if self._tape is not None:
            self._tape.end(outcome, attempt)
        attempt.end(outcome, now, billed=self._relayed or outcome == "client_gone")
        every.open.discard(self)
        order, took_s, counted_as = self._order, now - self._began, counted_as or outcome
        first_s = attempt.first_at - self._began if attempt.first_at and order.stream else None
        if first_s is not None and attempt.stream is not None:
            self.way.replica.began_after(attempt.first_at - attempt.began)
        every.metrics.ended(
            order.model, counted_as, attempt.usage, took_s, first_s, backend=order.backend, path=order.path
        )
        if self._watched is not None:
            self._watched.ended(order, counted_as, attempt.usage, first_s)
