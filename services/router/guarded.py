"""The guard on the way back: between an attempt and its exchange, and nowhere where there is none."""

from typing import TYPE_CHECKING, Protocol

from events.usage import Outcome
from events.words import Problem, Refusal
from services.guarding.asking import log, told, unchecked
from services.guarding.guard import Watching
from services.guarding.sieve import Sieve
from services.guarding.texts import sift

if TYPE_CHECKING:
    from services.router.attempt import Attempt, Caller

    class Reader(Caller, Protocol):
        """Who gets what may be read."""

        @property
        def attempt(self) -> Attempt:
            """The one that was made for it last."""

        def released(self, events: bytes) -> None:
            """Whole events that may be read."""

        def cut(self) -> None:
            """The guard ended the stream; that was released."""


class Guarded:
    """An attempt's `Caller`, before the one who made it. What a guard fails on is not told, and not tried
    again: another attempt costs as much, and the guard is the same.
    """

    __slots__ = ("_reader", "_sieve", "_told", "_watching")

    def __init__(self, reader: "Reader", watching: Watching) -> None:
        self._reader = reader
        self._watching = watching
        self._sieve = Sieve(watching)
        self._told = False

    def relay(self, events: bytes) -> None:
        """See `Caller`."""
        sieve = self._sieve
        held = sieve.held
        try:
            released = sieve.feed(events)
        except Exception as error:  # noqa: BLE001  (whatever it is: what was not read is not told)
            self._fail(error)
            return
        if released:
            self._told = True
            self._reader.released(released)
        if sieve.cut:
            self._reader.cut()
        elif sieve.held != held and not self._reader.attempt.is_over:
            self._reader.attempt.hold(sieve.held - held)

    def rest(self) -> bytes:
        """What may be read where a stream broke off of which something was told."""
        if not self._told:
            return b""
        try:
            return self._sieve.rest()
        except Exception as error:  # noqa: BLE001  (as above)
            log.error("the guard failed on an answer: %s", told(error))
            return b""

    def _fail(self, error: Exception) -> None:
        self._sieve.over = True
        self._reader.refuse("blocked", unchecked(error))

    def answered(self) -> None:
        """See `Caller`."""
        attempt = self._reader.attempt
        if attempt.stream is None:
            try:
                attempt.answer, attempt.cut = sift(attempt.answer, self._watching)
            except Exception as error:  # noqa: BLE001  (as above)
                self._fail(error)
                return
        self._reader.answered()

    # --- what it has no part in

    def now_billable(self) -> None:
        """See `Caller`."""
        self._reader.now_billable()

    def refuse(self, outcome: Outcome, refusal: Refusal) -> None:
        """See `Caller`."""
        self._reader.refuse(outcome, refusal)

    def declined(self, refusal: Refusal, after_s: float | None) -> None:
        """See `Caller`."""
        self._reader.declined(refusal, after_s)

    def broke(self, outcome: Outcome, problem: Problem) -> None:
        """See `Caller`."""
        self._reader.broke(outcome, problem)

    def unreachable(self) -> None:
        """See `Caller`."""
        self._reader.unreachable()

    def stale(self) -> None:
        """See `Caller`."""
        self._reader.stale()
