"""One keep-alive connection to an engine: carries one call at a time."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

import httptools

from services.pool.flight import Failure, Flight, value_of

if TYPE_CHECKING:
    from services.pool.replica import Replica

MAX_HEAD = 64 * 2**10
SERVER_ERROR = 500
COPIED = 64 * 2**10  # a body up to this size is written in one piece with its head


class Connection(asyncio.Protocol):
    """Writes a flight's request and tells its receiver what comes back."""

    __slots__ = (
        "_fields", "_flight", "_free", "_open", "_outgoing", "_parser", "_paused", "_received", "_replica",
        "_responded", "_transport", "_used", "idle_since", "on_header",
    )  # fmt: skip

    def __init__(self, replica: "Replica") -> None:
        self._replica = replica
        self._fields: dict[bytes, bytes] = {}
        self.on_header = self._fields.setdefault  # httptools calls it for each: nothing is cheaper
        self._parser = httptools.HttpResponseParser(self)
        self._flight: Flight | None = None
        self._outgoing: tuple[bytes, ...] = ()  # goes out at the end of the loop's turn
        self._open = False
        self._used = False  # it has carried a call before
        self._free = False  # its call is over, but what came with the last bytes is still being read
        self._paused = False
        self.idle_since = 0.0
        self._received = 0  # bytes since the call was written
        self._responded = False

    # --- used by the replica and the flight

    @property
    def open(self) -> bool:
        """Whether a call can be written to it."""
        return self._open and not self._transport.is_closing()

    def carry(self, flight: Flight) -> None:
        """Writes the flight's request; from now on its receiver hears of the response."""
        self._flight = flight
        flight.connection = self
        self._fields.clear()
        self._received = 0
        self._responded = False
        body = flight.body
        self._outgoing = (flight.head + body,) if len(body) <= COPIED else (flight.head, body)
        self._replica.turn.ends_with(self._flush)
        flight.receiver.sent()

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, ()
        if self.open:  # else the flight has heard, or will
            for part in outgoing:
                self._transport.write(part)

    def abandon(self) -> None:
        """Nobody waits any more: the connection closes, which tells the engine."""
        self._flight = None
        self._transport.abort()

    def pause(self) -> None:
        """Stops reading."""
        if not self._paused and self.open:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on."""
        if self._paused and self.open:
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        """Ends an idle connection."""
        self._open = False
        self._transport.close()

    # --- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)
        self._open = True

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._flight is None:  # an engine that speaks unasked cannot be trusted with the next call
            self._transport.abort()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(Failure(kind="protocol", message=f"the engine's response is not valid HTTP: {error}"))
        if not self._responded and self._received > MAX_HEAD:
            self._fail(Failure(kind="protocol", message="the engine's response head is too large"))
        if self._free:
            self._free = False
            if self.open:
                self._replica.idle(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._open = False
        self._replica.left(self)
        flight = self._flight
        if flight is None:
            return
        if self._responded and not self._framed() and exc is None:
            self._finish(flight)  # HTTP/1.0 style: the close is the end
        elif self._used and not self._received:
            self._replica.close()  # the others are most likely as stale
            self._fail(Failure(kind="stale", message="the engine had closed the connection"))
        else:
            reason = f": {exc}" if exc else ""
            self._fail(Failure(kind="reset", message=f"the engine closed the connection{reason}"))

    # --- called by httptools

    def on_message_begin(self) -> None:
        """Called by httptools."""
        if self._flight is None:  # behind its answer the engine goes on unasked
            self._transport.abort()

    def on_headers_complete(self) -> None:
        """Called by httptools."""
        status = self._parser.get_status_code()
        if self._flight is not None and status >= 200:
            self._responded = True
            self._flight.receiver.responded(status, self._fields.copy())

    def _framed(self) -> bool:
        """Whether the protocol tells where the body ends; else the close does."""
        return any(value_of(self._fields, name) for name in (b"content-length", b"transfer-encoding"))

    def _is_sent(self) -> bool:
        """Whether the whole request went out; some engines answer earlier, and then read no further."""
        return not self._outgoing and not self._transport.get_write_buffer_size()

    def on_body(self, data: bytes) -> None:
        """Called by httptools."""
        if self._flight is not None:
            self._flight.receiver.received(data)

    def on_message_complete(self) -> None:
        """Called by httptools."""
        flight = self._flight
        if flight is None:
            return
        if not self._responded:  # an interim response (1xx)
            self._fields.clear()
            return
        if self._parser.should_keep_alive() and self._is_sent():
            self._flight = None
            self._used = self._free = True
            if self._paused:
                self.resume()
        else:
            self._open = False
            with contextlib.suppress(OSError):
                self._transport.close()
        self._finish(flight)

    # --- ends

    def _finish(self, flight: Flight) -> None:
        self._flight = None
        if flight.end():
            if self._parser.get_status_code() >= SERVER_ERROR:
                self._replica.failed(flight.began)
            elif self._replica.failures or self._replica.aside_until:
                self._replica.recovered()
            flight.receiver.completed()

    def _fail(self, failure: Failure) -> None:
        flight, self._flight = self._flight, None
        self._transport.abort()
        if flight is not None and flight.end():
            if failure.kind != "stale":
                self._replica.failed(flight.began)
            flight.receiver.failed(failure)
