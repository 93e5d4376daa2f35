"""What can be made to go wrong with an answer, by name."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from events.words import Invalid, Problem, Record, Refusal

STATUS = "status"
BEFORE_JOINING = -1  # as an interruption's place: accepted, and in no queue yet


class Victim(Protocol):
    """An answer, as an interruption finds it: nothing goes on by itself any more."""

    def hold(self, phase: str) -> None:
        """Waits to be released."""

    def reset(self) -> None:
        """Closes the connection in the middle of what it sends."""

    def hang(self) -> None:
        """Says nothing more, until the client leaves."""

    def cut(self) -> None:
        """Ends here as if it were whole: no finish, no usage, no [DONE]; half a body."""

    def garble(self) -> None:
        """Says something that is not JSON, and ends."""

    def drip(self, every_s: float) -> None:
        """Says one token, and each further one no sooner than `every_s` later."""


class Interruption(NamedTuple):
    """Something happens to an answer when it has `at` tokens, or `BEFORE_JOINING`."""

    at: int
    act: Callable[[Victim], None]


class Fault(Record, forbid_unknown_fields=True):
    """One of `FAULTS`, or `status`: an answer with status `n` (503) and perhaps a Retry-After.

    `n` is how many tokens come first (0; `cut`: all), or for `drip` the milliseconds between them (1000).
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
        problem = Problem(
            message=f"A fault was asked for: status {status}.", type="server_error", code="rehearsed_fault"
        )
        return Refusal(status=status, problem=problem, retry_after_s=self.retry_after_s)

    def interruption(self, total: int) -> Interruption:
        """When and how it strikes an answer of `total` tokens."""
        kind = FAULTS[self.fault]
        return Interruption(kind.at(self.n, total), lambda answer: kind.act(answer, self.n))


class Kind(NamedTuple):
    """When a fault strikes, given its `n` and how many tokens there will be, and what it does."""

    at: Callable[[int | None, int], int]
    act: Callable[[Victim, int | None], None]


def _after_n(n: int | None, total: int) -> int:
    return min(n or 0, total)


def _after_n_or_all(n: int | None, total: int) -> int:
    return total if n is None else min(n, total)


def _at_first(n: int | None, total: int) -> int:
    return 0


FAULTS = {
    "reset": Kind(_after_n, lambda answer, n: answer.reset()),
    "hang": Kind(_after_n, lambda answer, n: answer.hang()),
    "cut": Kind(_after_n_or_all, lambda answer, n: answer.cut()),
    "garbage": Kind(_after_n, lambda answer, n: answer.garble()),
    "drip": Kind(_at_first, lambda answer, n: answer.drip((1000 if n is None else n) / 1000)),
}


def checked(fault: Fault) -> Fault:
    """The fault, if it exists; else raises `Invalid` with those that do."""
    if fault.fault not in FAULTS and fault.fault != STATUS:
        raise Invalid(f"There is no fault {fault.fault!r}; there are {', '.join((STATUS, *FAULTS))}.")
    if (fault.n or 0) < 0 or (fault.fault == STATUS and not 400 <= (fault.n or 503) <= 599):
        raise Invalid(f"The fault {fault.fault!r} cannot have n = {fault.n}.")
    return fault


def asked_by(header: bytes) -> Fault:
    """The fault a request asks for itself: `<name>[:<n>]`. Raises `Invalid`."""
    name, _, n = header.decode("latin-1").strip().partition(":")
    try:
        return checked(Fault(fault=name, n=int(n) if n else None))
    except ValueError:
        raise Invalid(f"x-rehearsal-fault has {n!r} where it should have a number.") from None
