"""Several choices told in turns: a token of each, until all are done."""

from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from services.rehearsal.said.draft import Choice


class Writer(Protocol):
    """Renders the answer to one request.

    A stream is `tokens(0, a) + tokens(a, b) + ... + ending()`, cut wherever one likes, and told once.
    """

    def whole(self) -> bytes:
        """The answer in one piece."""

    def tokens(self, start: int, end: int) -> bytes:
        """Events for the tokens from `start` to `end`, counted over all choices."""

    def ending(self) -> bytes:
        """What follows the last token: the finish, the usage if it was asked for, and the end."""


class Face(Protocol):
    """How one of OpenAI's endpoints shows the parts of a stream."""

    def opening(self, index: int) -> bytes:
        """What comes before a choice's first token."""

    def token(self, index: int, at: int) -> bytes:
        """A choice's token."""

    def finish(self, index: int) -> bytes:
        """How it ended."""


class Turns:
    """A stream of several choices. Each is finished after its last token; what is left, by `rest`."""

    def __init__(self, choices: list[Choice], face: Face) -> None:
        self._choices = choices
        self._face = face
        self._opened: set[int] = set()
        self._finished: set[int] = set()
        self._last = max(
            range(len(choices)), key=lambda index: (len(choices[index].tokens), index), default=0
        )
        self._pieces = self._in_turns()

    def tokens(self, count: int) -> bytes:
        """The next so many tokens."""
        return b"".join(islice(self._pieces, count))

    def rest(self) -> bytes:
        """What was not told, but for tokens."""
        return b"".join(
            self._opening(index) + self._face.finish(index)
            for index in range(len(self._choices))
            if index not in self._finished
        )

    def _opening(self, index: int) -> bytes:
        if index in self._opened:
            return b""
        self._opened.add(index)
        return self._face.opening(index)

    def _in_turns(self) -> Iterator[bytes]:
        running = [index for index, choice in enumerate(self._choices) if choice.tokens]
        at = 0
        while running:
            for index in running:
                told = self._opening(index) + self._face.token(index, at)
                if at + 1 == len(self._choices[index].tokens) and index != self._last:
                    self._finished.add(index)
                    told += self._face.finish(index)
                yield told
            at += 1
            running = [index for index in running if at < len(self._choices[index].tokens)]
