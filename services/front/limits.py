"""How much a front takes on: sizes, times and the memory all bodies may use together."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one connection. Sizes in bytes, times in seconds."""

    body: int = 32 * 2**20
    head: int = 32 * 2**10
    head_timeout_s: float = 15.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 75.0
    linger_s: float = 5.0
    pipelined: int = 16


class Budget:
    """Bytes that may be held at once; taken before they are read, given back when they are gone."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int) -> bool:
        """Whether there was room for `size` more; if so, it is taken."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        """Room is free again."""
        self.used -= size
