"""What passes between the front and an endpoint: a call, the reply to it, and who listens to the client."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from services.wire.fields import Fields

if TYPE_CHECKING:
    from services.router.idempotency.later import Later
    from services.router.watch import Watched

STATUS_LINES: dict[int, bytes] = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}


def status_line(status: int) -> bytes:
    """The first line of a reply."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


class Call:
    """One whole request. Header names are lower case, and those sent twice are joined by commas;
    `target` is the raw path with its query.
    """

    __slots__ = (
        "body", "headers", "keep_alive", "later", "method", "path", "query", "target", "version", "watched",
    )  # fmt: skip

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: dict[bytes, bytes],
        body: bytes = b"",
        version: str = "1.1",
        keep_alive: bool = True,
    ) -> None:
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition(b"?")
        self.headers = headers
        self.body = body
        self.version = version
        self.keep_alive = keep_alive
        self.watched: Watched | None = None  # where somebody notes what becomes of it
        self.later: Later | None = None  # where its bill waits for its result

    def header(self, name: bytes) -> bytes:
        """The value of a header, or b""."""
        return self.headers.get(name, b"")


class Listener(Protocol):
    """Who must know what becomes of the client while a reply is under way."""

    def client_gone(self) -> None:
        """The client left; nothing written from now on arrives."""

    def client_paused(self) -> None:
        """The client reads slower than it is sent to; stop producing."""

    def client_resumed(self) -> None:
        """The client caught up."""


class Reply(Protocol):
    """The way back to the client: `send` once, or `start`, `write`... and `finish`.

    Bytes go out in order and are never blocked on; a slow client is reported to the listener.
    """

    listener: Listener | None

    def send(self, status: int, fields: Fields, body: bytes) -> None:
        """A whole reply at once."""

    def start(self, status: int, fields: Fields) -> None:
        """Begins a reply of unknown length."""

    def write(self, data: bytes) -> None:
        """Sends a piece; empty pieces are ignored."""

    def finish(self) -> None:
        """Ends it properly."""

    def abort(self) -> None:
        """Breaks it off, so that the client can tell."""


Endpoint = Callable[[Call, Reply], None]
