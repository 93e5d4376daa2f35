"""One call to an engine while it is under way, and who hears of it."""

from typing import TYPE_CHECKING, Literal, Protocol

from events.words import Record

if TYPE_CHECKING:
    import asyncio

    from services.pool.connection import Connection
    from services.pool.replica import Replica

Headers = dict[bytes, bytes]  # by name as the engine writes it; the first of the same twice counts


def value_of(headers: Headers, name: bytes) -> bytes | None:
    """A header by its name in lower case, however the engine writes it."""
    value = headers.get(name) or headers.get(name.title())  # nearly always
    if value is None:
        value = next((found for written, found in headers.items() if written.lower() == name), None)
    return value


class Failure(Record):
    """Why no whole response came: no connection, or it broke, or it was not HTTP.

    "stale": the engine had closed the idle connection the call was written to, and most likely never
    saw the call. It cannot be known, so this is an attempt like any other. "large": it was whole, and more
    than anybody would take.
    """

    kind: Literal["connect", "stale", "reset", "protocol", "large"]
    message: str


class Receiver(Protocol):
    """Hears of a call, in this order: `sent`, `responded`, `received`..., and `completed` or `failed`.

    After `completed`, `failed` or `Flight.cancel` nothing more is heard.
    """

    def sent(self) -> None:
        """The request was written to a connection: the engine may be working on it."""

    def responded(self, status: int, headers: Headers) -> None:
        """The response's head arrived."""

    def received(self, data: bytes) -> None:
        """A piece of its body arrived, transfer coding removed."""

    def completed(self) -> None:
        """The response is whole."""

    def failed(self, failure: Failure) -> None:
        """It will never be whole."""


class Flight:
    """A call under way, begun at `began` by its replica's clock; `cancel` ends it in every phase, and the
    engine sees its connection close.
    """

    __slots__ = ("began", "body", "connection", "dial", "head", "over", "receiver", "replica")

    def __init__(
        self, replica: "Replica", head: bytes, body: bytes, receiver: Receiver, began: float
    ) -> None:
        self.replica = replica
        self.began = began
        self.head = head
        self.body = body
        self.receiver = receiver
        self.connection: Connection | None = None
        self.dial: asyncio.Task[None] | None = None
        self.over = False

    def end(self) -> bool:
        """Marks it over; False where it was already."""
        if self.over:
            return False
        self.over = True
        self.connection = None
        self.replica.in_flight -= 1
        return True

    def cancel(self) -> None:
        """Ends it now; the receiver hears nothing more."""
        connection = self.connection
        if not self.end():
            return
        if self.dial is not None:
            self.dial.cancel()
        if connection is not None:
            connection.abandon()

    def give_up(self) -> None:
        """Ends it because its engine takes too long, which counts against that."""
        if not self.over:
            self.replica.failed(self.began)
        self.cancel()

    def pause(self) -> None:
        """Stops reading the response; the engine feels the back-pressure."""
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        """Reads on."""
        if self.connection is not None:
            self.connection.resume()
