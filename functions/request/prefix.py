"""How a prompt begins, as a number: which engine may have read that before."""

from collections.abc import Iterable, Sequence
from typing import Protocol
from zlib import crc32

import msgspec

READ = 1024  # characters of a prompt; what differs behind them is read anew anywhere
EMPTY = (b"", b"null", b'""')

Named = msgspec.Raw | msgspec.UnsetType


class Message(Protocol):
    """One message of a chat."""

    @property
    def role(self) -> str:
        """Who says it."""

    @property
    def content(self) -> str | Sequence[msgspec.Raw] | None:
        """A text, or parts of one as they were sent."""


def of_chat(messages: Iterable[Message], *names: Named) -> int:
    """Never 0, and the same in every turn of a conversation. The first of the `names` that is told decides;
    else it is the beginning, to the end of the first thing its user says, and no further than `READ`.
    """
    for name in names:
        if name is not msgspec.UNSET and bytes(name) not in EMPTY:
            return of_name(bytes(name))
    number, left = 0, READ
    for message in messages:
        said = _begin(message.content, left)
        number = crc32(said, crc32(message.role.encode(), number))
        left -= len(said)
        if message.role == "user" or left <= 0:
            break
    return number or 1


def of_name(name: bytes) -> int:
    """Never 0: a conversation, a user or a prompt by its own name."""
    return crc32(name, 1) or 1


def of_text(prompt: object) -> int:
    """Never 0: a prompt that is a text; 0 for anything else."""
    return (crc32(prompt[:READ].encode()) or 1) if isinstance(prompt, str) else 0


def _begin(content: str | Sequence[msgspec.Raw] | None, most: int) -> bytes:
    if isinstance(content, str):
        return content[:most].encode()
    said = b""
    for part in content or ():
        said += bytes(memoryview(part)[: most - len(said)])
        if len(said) >= most:
            break
    return said
