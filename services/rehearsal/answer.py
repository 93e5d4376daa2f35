"""One request under way: the schedule moves it, its client's reading paces it, interruptions disturb it."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import attrgetter

from events.words import Record, server_problem
from services.front.call import Reply
from services.rehearsal.drills.crumbs import Crumbs
from services.rehearsal.drills.faults import BEFORE_JOINING, CODE, Interruption
from services.rehearsal.driver import Driver
from services.rehearsal.journal import Accepted, Ended, Journal, Outcome
from services.rehearsal.said.draft import Draft
from services.rehearsal.schedule.slots import Sequence
from services.rehearsal.wire.heads import EVENTS, WHOLE
from services.rehearsal.wire.stream import Writer
from services.wire.errors import error_body, error_event

HALF_AN_EVENT = b'data: {"id":"chatcmpl-'
AT_ONCE = 64  # tokens rendered between two looks at whether the client keeps up


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What all answers share; `now` is the wall clock, in Unix seconds."""

    driver: Driver
    journal: Journal
    now: Callable[[], float]
    open: dict["Answer", None] = field(default_factory=dict)  # under way, oldest first


class Part(Record):
    """What is to be said, to whom, and how."""

    id: str
    attempt: str
    draft: Draft
    writer: Writer
    stream: bool


class Answer(Sequence):
    """Writes one reply as its tokens are made; whatever ends it, ends it once, in `_end`.

    Tokens the client is too slow for wait as a count, not as bytes: they are rendered when written.
    It is the client's `Listener` and the interruptions' `Victim`.
    """

    __slots__ = (
        "_interrupted", "_interruptions", "_on_first", "_over", "_part", "_paused", "_reply", "_sent",
        "_stage", "_started", "held",
    )  # fmt: skip

    def __init__(
        self,
        stage: Stage,
        part: Part,
        reply: Reply,
        interruptions: Iterable[Interruption] = (),
        on_first: Callable[[], None] | None = None,
    ) -> None:
        draft = part.draft
        uncached = draft.prompt_tokens - draft.cached_tokens
        super().__init__(goal=BEFORE_JOINING, prompt=draft.prompt_tokens, uncached=uncached)
        self._stage = stage
        self._part = part
        self._reply = reply
        self._interruptions = sorted(interruptions, key=attrgetter("at")) if interruptions else []
        self._on_first = on_first  # its prompt was read
        self._interrupted = False
        self._paused = False
        self._started = False  # the reply's head is written
        self._over = False
        self._sent = 0
        self.held = ""  # the phase in which it waits to be released

    @property
    def attempt(self) -> str:
        """What the caller named it."""
        return self._part.attempt

    def begin(self) -> None:
        """Accepts the request and queues it."""
        self._stage.open[self] = None
        self._reply.listener = self
        if self._stage.journal.kept:
            self._note_begin()
        self._proceed()

    def _note_begin(self) -> None:
        stage, part = self._stage, self._part
        row = Accepted(
            id=part.id, attempt=part.attempt, prompt_tokens=part.draft.prompt_tokens, at=stage.now()
        )
        stage.journal.add(row)

    # --- its way from interruption to interruption

    def moved(self) -> None:
        """The schedule made tokens of it."""
        if self._on_first is not None:
            self._on_first()
            self._on_first = None
        if self.produced == self._part.draft.total and not self._interruptions:
            self._stage.driver.leave(self)  # a slow reader does not keep the slot
        if self.produced == self.goal or self._part.stream:
            self._proceed()

    def _proceed(self) -> None:
        """Sends what there is, and once the goal is reached and sent, does what comes next."""
        self._send()
        goal = self.goal
        if self._interrupted or self._sent < goal:
            return
        if self._interruptions and self._interruptions[0].at <= goal:
            self._interrupted = True
            self._interruptions.pop(0).act(self)
        elif goal < self._part.draft.total:
            self.go_on()
        else:
            self._finish()

    def go_on(self) -> None:
        """Makes tokens, up to the next interruption or to the end."""
        if self._over:
            return
        self._interrupted = False
        self.held = ""
        goal = self._interruptions[0].at if self._interruptions else self._part.draft.total
        before, driver = self.goal, self._stage.driver
        if before == goal:
            self._proceed()
        elif before == BEFORE_JOINING:
            self.goal = goal
            driver.join(self)
        else:
            driver.extend(self, goal)

    def _send(self) -> None:
        produced = self.produced
        if not self._part.stream:
            self._sent = produced
        while self._sent < produced and not self._paused:
            until = min(produced, self._sent + AT_ONCE)
            self._start()
            self._reply.write(self._part.writer.tokens(self._sent, until))
            self._sent = until

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._reply.start(200, EVENTS if self._part.stream else WHOLE)

    # --- ends

    def _finish(self) -> None:
        self._end("finished")
        writer = self._part.writer
        if self._part.stream:
            self._start()  # an answer of no tokens has not begun
            self._reply.write(writer.ending())
            self._reply.finish()
        elif self._started:  # by an interruption
            self._reply.write(writer.whole())
            self._reply.finish()
        else:
            self._reply.send(200, WHOLE, writer.whole())

    def _end(self, outcome: Outcome) -> None:
        """The one end: frees the slot and writes the row, before the client can know."""
        stage = self._stage
        self._over = True
        self._interrupted = True
        del stage.open[self]
        stage.driver.leave(self)
        if stage.journal.kept:
            self._note_end(outcome)

    def _note_end(self, outcome: Outcome) -> None:
        part, stage = self._part, self._stage
        row = Ended(
            id=part.id,
            attempt=part.attempt,
            outcome=outcome,
            prompt_tokens=part.draft.prompt_tokens,
            cached_tokens=part.draft.cached_tokens,
            completion_tokens=self.produced,
            sent_tokens=self._sent if part.stream or outcome == "finished" else 0,
            at=stage.now(),
        )
        stage.journal.add(row)

    # --- the client's side

    def client_gone(self) -> None:
        """See `Listener`."""
        if not self._over:
            self._end("cancelled")

    def client_paused(self) -> None:
        """See `Listener`."""
        self._paused = True

    def client_resumed(self) -> None:
        """See `Listener`."""
        self._paused = False
        if not self._over and self._sent < self.produced:
            self._proceed()

    # --- what interruptions do to it

    def hold(self, phase: str) -> None:
        """See `Victim`."""
        self.held = phase

    def reset(self) -> None:
        """See `Victim`."""
        self._expose()
        self._end("error")
        # Not now: an abort drops what was written in this turn of the loop.
        asyncio.get_running_loop().call_soon(self._reply.abort)

    def hang(self) -> None:
        """See `Victim`."""
        self._expose()

    def cut(self) -> None:
        """See `Victim`."""
        self._start()
        self._expose()
        self._end("error")
        self._reply.finish()

    def garble(self) -> None:
        """See `Victim`."""
        self._start()
        self._end("error")
        self._reply.write(HALF_AN_EVENT + b"\n\n" if self._part.stream else b"<html>not JSON</html>")
        self._reply.finish()

    def begin_telling(self) -> None:
        """See `Victim`."""
        self._start()

    def tear(self) -> None:
        """See `Victim`."""
        self._start()
        whole = HALF_AN_EVENT if self._part.stream else self._part.writer.whole()
        self._reply.write(whole if self._part.stream else whole[: len(whole) // 2])
        self._end("error")
        asyncio.get_running_loop().call_soon(self._reply.abort)

    def fail(self) -> None:
        """See `Victim`."""
        problem = server_problem("A fault was asked for: an error in the middle.", CODE)
        self._start()
        self._end("error")
        self._reply.write(error_event(problem) if self._part.stream else error_body(problem))
        self._reply.finish()

    def drone(self, every_s: float) -> None:
        """See `Victim`."""
        if self._over:
            return
        self._start()
        self._reply.write(b": still here\n\n" if self._part.stream else b" ")
        asyncio.get_running_loop().call_later(every_s, self.drone, every_s)

    def swell(self, size: int) -> None:
        """See `Victim`."""
        self._start()
        event = b'data: {"choices":[],"padding":"%b"}\n\n' % (b"x" * size)
        self._reply.write(event if self._part.stream else b" " * size)
        self.go_on()

    def crumble(self, every_s: float) -> None:
        """See `Victim`."""
        self._reply = Crumbs(self._reply, every_s)
        self.go_on()

    def drip(self, every_s: float) -> None:
        """See `Victim`."""
        following = self.produced + 1
        if following < self._part.draft.total:
            self._interruptions.append(Interruption(following, lambda answer: answer.drip(every_s)))
            self._interruptions.sort(key=attrgetter("at"))
        asyncio.get_running_loop().call_later(every_s, self.go_on)

    def _expose(self) -> None:
        """What a stream has sent by now, an answer in one piece shows as its first half."""
        if not self._part.stream and self.produced:
            whole = self._part.writer.whole()
            self._start()
            self._reply.write(whole[: len(whole) // 2])
