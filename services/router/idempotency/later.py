"""What is not said of a call before it is stored what it came to."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class Later:
    """The bill of a call with a key waits here for its result: a process that dies must not leave a bill
    without one, since the retry is run then, and billed too.
    """

    __slots__ = ("_over", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []
        self._over = False

    def do(self, say: Callable[[], None]) -> None:
        """Says it once the call is over; now, if it is."""
        if self._over:
            say()
        else:
            self._waiting.append(say)

    def over(self) -> None:
        """The result is stored, or there will be none."""
        self._over = True
        waiting, self._waiting = self._waiting, []
        for say in waiting:
            say()


def bill(later: Later | None, add: Callable[[T], None], record: T) -> None:
    """Adds it then; now, where nothing is waited for."""
    if later is None:
        add(record)
    else:
        later.do(partial(add, record))
