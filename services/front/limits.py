"""How much a front takes on: sizes, times, connections, and the memory all of them may use together."""

from dataclasses import dataclass

FULL = "This server holds as many bytes as it may; try again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on a front and each of its connections. Sizes in bytes, times in seconds.

    `connections` are fewer where the system allows fewer open files. `stalled_s` is how long a client
    may take nothing of what is written to it.
    """

    connections: int = 10_000
    body: int = 32 * 2**20
    head: int = 32 * 2**10
    head_timeout_s: float = 15.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 75.0
    stalled_s: float = 60.0
    linger_s: float = 5.0
    pipelined: int = 16


class Budget:
    """Bytes that may be held at once. Taken as they come, given back when they are gone.

    What counts: the bodies of requests, until they are answered; what engines answered, until it is
    passed on; and what was written to a client too slow for it, until the client has read all of that.
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def has_room(self, size: int) -> bool:
        """Whether `size` more could be taken now."""
        return self.used + size <= self.limit

    def take(self, size: int) -> bool:
        """Whether there was room for `size` more; if so, it is taken."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def count(self, size: int) -> None:
        """Takes it without asking: the bytes are here whether there is room for them or not."""
        self.used += size

    def give_back(self, size: int) -> None:
        """Room is free again."""
        self.used -= size
