"""What can be made to go wrong with an answer, by name: all that is still HTTP."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from events.words import Invalid, Problem, Record, Refusal

STATUS = "status"
CODE = "rehearsed_fault"
BIG = 16 * 2**20
MOST = 256 * 2**20
BEFORE_JOINING = -1  # as an interruption's place: accepted, and in no queue yet


class Victim(Protocol):
    """An answer, as an interruption finds it: nothing goes on by itself any more."""

    def hold(self, phase: str) -> None:
        """Waits to be released."""

    def begin_telling(self) -> None:
        """Sends the head, if it is not sent yet."""

    def reset(self) -> None:
        """Closes the connection in the middle of what it sends."""

    def hang(self) -> None:
        """Says nothing more, until the client leaves."""

    def cut(self) -> None:
        """Ends here as if it were whole: no finish, no usage, no [DONE]; half a body."""

    def garble(self) -> None:
        """Says something that is not JSON, and ends."""

    def tear(self) -> None:
        """Says half an event, or half a body, and closes the connection."""

    def fail(self) -> None:
        """Says that it failed, under status 200: an error where an event should be, or the body."""

    def drone(self, every_s: float) -> None:
        """Never ends, and shows every so often that it is still there."""

    def swell(self, size: int) -> None:
        """Says one event, or a beginning of the body, of so many bytes."""

    def crumble(self, every_s: float) -> None:
        """Says the rest a byte at a time, no sooner than `every_s` after each other."""

    def drip(self, every_s: float) -> None:
        """Says one token, and each further one no sooner than `every_s` later."""


class Interruption(NamedTuple):
    """Something happens to an answer when it has `at` tokens, or `BEFORE_JOINING`."""

    at: int
    act: Callable[[Victim], None]


class Fault(Record, forbid_unknown_fields=True):
    """One of `FAULTS`, or `status`: an answer with status `n` (503), and a Retry-After where that is given.

    A status is told before the request is accepted, so the log knows nothing of it.
    """

    fault: str
    n: int | None = None
    retry_after_s: int | None = None

    def refusal(self) -> Refusal | None:
        """The answer, where it is a status."""
        if self.fault != STATUS:
            return None
        status = 503 if self.n is None else self.n
        problem = Problem(message=f"A fault was asked for: status {status}.", type="server_error", code=CODE)
        return Refusal(status=status, problem=problem, retry_after_s=self.retry_after_s)

    def interruption(self, total: int) -> Interruption:
        """When and how it strikes an answer of `total` tokens."""
        kind = FAULTS[self.fault]
        return Interruption(kind.at(self.n, total), lambda answer: kind.act(answer, self.n))


class Kind(NamedTuple):
    """When a fault strikes, given its `n` and how many tokens there will be, what it does, and in words."""

    at: Callable[[int | None, int], int]
    act: Callable[[Victim, int | None], None]
    told: str


def _after_n(n: int | None, total: int) -> int:
    return min(n or 0, total)


def _after_n_or_all(n: int | None, total: int) -> int:
    return total if n is None else min(n, total)


def _at_first(n: int | None, total: int) -> int:
    return 0


def _reset(answer: Victim, n: int | None) -> None:
    if n is not None:
        answer.begin_telling()
    answer.reset()


def _hang(answer: Victim, n: int | None) -> None:
    if n is not None:
        answer.begin_telling()
    answer.hang()


def _seconds(n: int | None, otherwise: int) -> float:
    return (otherwise if n is None else n) / 1000


FAULTS = {
    "reset": Kind(_after_n, _reset, "closes the connection: before the head, or after the head and n tokens"),
    "hang": Kind(_after_n, _hang, "says nothing more: before the head, or after the head and n tokens"),
    "cut": Kind(
        _after_n_or_all,
        lambda answer, n: answer.cut(),
        "ends after n tokens (all) as if it were whole, without finish, usage and [DONE]; half a body",
    ),
    "torn": Kind(
        _after_n,
        lambda answer, n: answer.tear(),
        "after n tokens (0) half an event, then closes; half a body",
    ),
    "garbage": Kind(
        _after_n, lambda answer, n: answer.garble(), "after n tokens (0) what is not JSON, and ends"
    ),
    "error": Kind(
        _after_n,
        lambda answer, n: answer.fail(),
        "after n tokens (0) an error as an event, or as a body with 200",
    ),
    "endless": Kind(
        _after_n_or_all,
        lambda answer, n: answer.drone(0.1),
        "after n tokens (all) never ends, and says nothing but that it is there",
    ),
    "big": Kind(
        _at_first,
        lambda answer, n: answer.swell(BIG if n is None else n),
        "begins with an event, or blanks before the body, of n bytes (16777216)",
    ),
    "crumbs": Kind(
        _at_first, lambda answer, n: answer.crumble(_seconds(n, 1)), "a byte at a time, n ms (1) apart"
    ),
    "drip": Kind(
        _at_first,
        lambda answer, n: answer.drip(_seconds(n, 1000)),
        "a token at a time, n ms (1000) apart; drip:50 is 20 tokens a second",
    ),
}
STATUS_TOLD = "answers with status n (503), with a Retry-After of r seconds where that is given"


def checked(fault: Fault) -> Fault:
    """The fault, if it exists; else raises `Invalid` with those that do."""
    if fault.fault not in FAULTS and fault.fault != STATUS:
        raise Invalid(f"There is no fault {fault.fault!r}; there are {', '.join((STATUS, *FAULTS))}.")
    if (
        not 0 <= (fault.n or 0) <= MOST
        or (fault.retry_after_s or 0) < 0
        or (fault.fault == STATUS and not 400 <= (fault.n or 503) <= 599)
    ):
        raise Invalid(f"The fault {fault.fault!r} cannot have n = {fault.n}.")
    return fault


def asked_by(header: bytes) -> Fault:
    """The fault a request asks for itself: `<name>[:<n>[:<r>]]`. Raises `Invalid`."""
    name, *numbers = header.decode("latin-1").strip().split(":")
    try:
        n, retry_after_s, *_ = [int(number) if number else None for number in numbers] + [None, None]
    except ValueError:
        raise Invalid(f"x-rehearsal-fault is {header[:80]!r}; send a name, or name:n, or name:n:r.") from None
    return checked(Fault(fault=name, n=n, retry_after_s=retry_after_s))
