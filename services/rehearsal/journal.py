"""The append-only log of every attempt: what the engine itself knows of it, whoever dies."""

import os
from pathlib import Path
from typing import Literal

import msgspec

Outcome = Literal["finished", "cancelled", "error"]


class Accepted(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="accepted"):
    """A request was taken on. `id` is the completion's; `attempt` is what the caller named it, or ""."""

    id: str
    attempt: str
    prompt_tokens: int
    at: float  # Unix seconds


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag="ended"):
    """It ended: `finished`, `cancelled` when its client left, or `error` where a fault was injected.

    `completion_tokens` were made, `sent_tokens` of them written towards the client; an answer in one
    piece is sent whole or not at all.
    """

    id: str
    attempt: str
    outcome: Outcome
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    sent_tokens: int
    at: float


Row = Accepted | Ended

_rows = msgspec.json.Decoder(Row)
_encode = msgspec.json.Encoder().encode


class Journal:
    """Appends rows to a file, if there is one.

    Each row is one unbuffered write of a whole line: it is in the kernel's hands before the client
    hears of what it tells, so it survives the death of either.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._fd = -1 if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    @property
    def kept(self) -> bool:
        """Whether there is a file; else rows need not be made."""
        return self._fd >= 0

    def add(self, row: Row) -> None:
        """Writes a row. Raises `OSError` where the disk does not take it."""
        if self._fd >= 0:
            os.write(self._fd, _encode(row) + b"\n")

    def close(self) -> None:
        """Rows that come later are dropped."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_rows(path: Path) -> list[Row]:
    """All rows of a log, in the order they were written."""
    return [_rows.decode(line) for line in path.read_bytes().splitlines()]
