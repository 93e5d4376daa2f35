"""One client connection: httptools reads requests off it, replies go back in the order they came."""

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from services.front.call import Call, Listener, status_line
from services.front.limits import FULL
from services.front.reading import FRAMING, grown, mistake_in, without_upgrade
from services.wire.fields import Fields

if TYPE_CHECKING:
    from services.front.front import Front

log = logging.getLogger("penstock.front")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE = b"connection: close\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
LAST_CHUNK = b"0\r\n\r\n"
COPIED = 64 * 2**10  # an answer up to this size is written in one piece with its head
PAUSES_AT = 64 * 2**10  # bytes a client has not read, before nothing more is made for it


class Connection(asyncio.Protocol):
    """Reads calls, hands them to the front's endpoint one at a time, and is their `Reply`."""

    __slots__ = (
        "_body", "_busy", "_call", "_chunked", "_closing", "_front", "_head_only", "_head_size",
        "_headers", "_held", "_held_unread", "_idle_since", "_lost", "_outgoing", "_outgoing_size", "_parser",
        "_queue", "_reading_body", "_reading_since", "_refused_at", "_resuming", "_taken_at", "_target",
        "_transport", "_unparsed", "_unread", "_version", "_write_paused", "listener",
    )  # fmt: skip

    def __init__(self, front: "Front") -> None:
        self._front = front
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Call] = deque()
        self._outgoing: list[bytes] = []  # goes out at the end of the loop's turn
        self._outgoing_size = 0
        self._busy = False
        self._closing = False  # no further request is read
        self._lost = False  # the client is gone: what is still written is dropped
        self._refused_at = 0.0  # when the request being read was answered early, if it was
        self._write_paused = False  # as whoever answers was told
        self._resuming: asyncio.Handle | None = None  # will tell that the client caught up
        self._chunked = True
        self._head_only = False
        self._held = 0  # bytes of bodies this connection holds of the budget
        self._held_unread = 0  # and of answers, while the client is slow to read them
        self._unread = 0  # bytes of answers the client had not taken at the last look
        self._taken_at = 0.0  # when it was last seen to have taken some
        self._reset()
        self.listener: Listener | None = None
        self._idle_since = front.now()

    def _reset(self) -> None:
        self._target, self._version = b"", ""
        self._headers: dict[bytes, bytes] = {}
        self._head_size = 0
        self._unparsed = 0  # bytes of this request that came
        self._body: bytes | bytearray = b""  # no list: pieces of a byte each take many times as much
        self._reading_since = 0.0
        self._reading_body = False

    # --- the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)
        # What was written is gone, and no longer counted, only when all of it is out.
        self._transport.set_write_buffer_limits(high=PAUSES_AT, low=0)
        self._front.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio: whoever is answering learns that nobody listens."""
        self._front.left(self)
        self._closing = self._lost = True
        self._queue.clear()
        self._front.budget.give_back(self._held + self._held_unread)
        self._held = self._held_unread = 0
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.client_gone()

    def eof_received(self) -> None:
        """Called by asyncio: a client that closes its side has left; the transport closes itself."""
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._closing:
            return
        self._unparsed += len(data)
        while data and not self._closing:
            data = self._parse(data)
        if self._unparsed - FRAMING * len(self._body) > self._front.limits.head:
            self._refuse_head()

    def _parse(self, data: bytes) -> bytes:
        """Reads on; returns what is to be read after it."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:  # read again without the wish: its body would be lost
            head = without_upgrade(self._parser.get_method(), self._target, self._version, self._headers)
            self._parser = httptools.HttpRequestParser(self)
            self._reset()
            self._unparsed = len(head)
            return head + data[upgrade.args[0] :]
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            self._refuse(400, f"The request is not valid HTTP/1.1: {error}.")
        return b""

    def pause_writing(self) -> None:
        """Called by asyncio when the client reads too slowly."""
        self._count_unread()
        if self._resuming is not None:  # it caught up for a moment only, and nobody has heard of that
            self._resuming.cancel()
            self._resuming = None
            return
        self._write_paused = True
        if self.listener is not None:
            self.listener.client_paused()

    def _count_unread(self) -> None:
        unread = self._transport.get_write_buffer_size()
        self._front.budget.count(unread - self._held_unread)
        self._held_unread = unread

    def resume_writing(self) -> None:
        """Called by asyncio when it caught up."""
        self._front.budget.give_back(self._held_unread)
        self._held_unread = 0
        # Told in the loop's next turn: asyncio calls this in the middle of its own writing, and loses a
        # transport twice that is closed there.
        self._resuming = asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        self._resuming = None
        if self._transport.is_closing():
            return
        self._write_paused = False
        if self.listener is not None:
            self.listener.client_resumed()
        elif self._queue and not self._busy:
            self._begin(self._queue.popleft())

    # --- the parser

    def on_message_begin(self) -> None:
        """Called by httptools."""
        self._reading_since = self._front.now()

    def on_url(self, url: bytes) -> None:
        """Called by httptools."""
        self._target += url
        self._head_size += len(url)
        if self._head_size > self._front.limits.head:
            self._refuse_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools."""
        self._head_size += len(name) + len(value) + 4  # a colon, a space, the line's end
        if self._head_size > self._front.limits.head:
            self._refuse_head()
            return
        if self._reading_body:  # behind the body: whoever guards this door has not looked there
            return
        name = name.lower()
        if name in self._headers:
            value = b"%b, %b" % (self._headers[name], value)
        self._headers[name] = value

    def _refuse_head(self) -> None:
        self._refuse(431, f"The request's head or framing is larger than {self._front.limits.head} bytes.")

    def on_headers_complete(self) -> None:
        """Called by httptools: the last moment to refuse a body unread."""
        if self._refused_at:
            return
        headers = self._headers
        self._version = version = self._parser.get_http_version()
        mistake = mistake_in(self._target, headers, version)
        if mistake is not None:
            self._refuse(*mistake)
        if mistake is not None or self._parser.should_upgrade():
            return
        self._reading_body = True
        if int(headers.get(b"content-length", 0)) > self._front.limits.body:
            self._refuse_body()
        elif b"expect" in headers and version == "1.1" and not self._busy:
            self._write(CONTINUE)

    def _refuse_body(self) -> None:
        self._refuse(413, f"The body is larger than {self._front.limits.body} bytes.", "request_too_large")

    def on_body(self, body: bytes) -> None:
        """Called by httptools. Room is taken as bytes come: an announcement alone locks nobody out."""
        if self._refused_at:
            return
        size = len(body)
        if len(self._body) + size > self._front.limits.body:
            self._refuse_body()
        elif not self._front.budget.take(size):
            self._refuse(503, FULL, "overloaded")
        else:
            self._held += size
            self._body = grown(self._body, body) if self._body else body

    def on_message_complete(self) -> None:
        """Called by httptools: a whole request is here."""
        parser = self._parser
        if self._refused_at or parser.should_upgrade():
            return
        if self._outgoing:  # of the call before: whether the client takes it decides about this one
            self._flush()
        keep_alive = parser.should_keep_alive()
        call = Call(
            parser.get_method(), self._target, self._headers, bytes(self._body), self._version, keep_alive
        )
        self._reset()
        if not (self._busy or self._queue or self._write_paused):
            self._begin(call)
            return
        self._queue.append(call)  # reading goes on, else a client's leaving would go unnoticed
        if len(self._queue) > self._front.limits.pipelined:
            self._refuse(400, "Too many pipelined requests.")

    # --- one call at a time

    def _begin(self, call: Call) -> None:
        self._busy = True
        self._call = call
        self._head_only = call.method == b"HEAD"
        if not call.keep_alive:
            self._closing = True
        try:
            self._front.endpoint(call, self)
        except Exception:
            log.exception("an endpoint failed: %s %s", call.method.decode(), call.path.decode("latin-1"))
            self.send(500, *self._front.render_refusal(500, "Something failed here.", "internal_error"))

    def _end(self) -> None:
        """The reply is out: forget the call and take the next."""
        self._busy = False
        self.listener = None
        size = len(self._call.body)
        self._held -= size
        self._front.budget.give_back(size)
        self._unread = 0  # what it has not taken yet is measured anew
        self._idle_since = self._front.now()
        if self._closing or self._front.draining:
            self._close()
        elif self._queue:
            self._flush()
            if not self._write_paused:
                self._begin(self._queue.popleft())

    def turn_away(self) -> None:
        """Answers a client that is one too many, whatever it will ask."""
        self._refuse(503, "This server has as many connections as it may; try again.", "overloaded")

    def _refuse(self, status: int, message: str, code: str = "invalid_request") -> None:
        """Answers a request that is not to be read to its end; the connection closes after it."""
        if self._refused_at or self._transport.is_closing():
            return
        self._refused_at = self._front.now()
        self._closing = True
        in_line = bool(self._queue)
        self._drop_unanswered()
        if self._busy:  # an earlier reply is under way and must not be mixed with this one
            return
        if in_line:  # earlier requests wait for a client that does not read
            self._close()
            return
        fields, body = self._front.render_refusal(status, message, code)
        self._flush()
        self._transport.write(self._head(status, fields, b"content-length: %d\r\n" % len(body)) + body)
        # What the client still sends is read and dropped: closing now could cost it our answer.
        self._transport.write_eof()

    def _drop_unanswered(self) -> None:
        """Forgets the request being read and those in line."""
        size = len(self._body) + sum(len(call.body) for call in self._queue)
        self._held -= size
        self._front.budget.give_back(size)
        self._body = b""
        self._queue.clear()

    # --- the reply

    def _head(self, status: int, fields: Fields, framing: bytes) -> bytes:
        close = CLOSE if self._closing or self._front.draining else b""
        return b"%b%b%b%b%b\r\n" % (status_line(status), self._front.date, fields, framing, close)

    def send(self, status: int, fields: Fields, body: bytes) -> None:
        """See `Reply.send`."""
        if self._lost:
            return
        head = self._head(status, fields, b"content-length: %d\r\n" % len(body))
        if self._head_only or len(body) <= COPIED:
            self._write(head if self._head_only else head + body)
        else:
            self._write(head)
            self._flush()
            self._transport.write(body)
        self._end()

    def start(self, status: int, fields: Fields) -> None:
        """See `Reply.start`. HTTP/1.0 clients get the bytes bare, ended by the close."""
        if self._lost:
            return
        self._chunked = self._call.version == "1.1"
        if not self._chunked:
            self._closing = True
        self._write(self._head(status, fields, CHUNKED if self._chunked else b""))

    def write(self, data: bytes) -> None:
        """See `Reply.write`."""
        if data and not (self._head_only or self._lost):
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def finish(self) -> None:
        """See `Reply.finish`."""
        if self._lost:
            return
        if self._chunked and not self._head_only:
            self._write(LAST_CHUNK)
        self._end()

    def abort(self) -> None:
        """See `Reply.abort`."""
        self.listener = None
        self._transport.abort()

    def _write(self, data: bytes) -> None:
        if not self._outgoing:
            self._front.turn.ends_with(self._flush)
        self._outgoing.append(data)
        self._outgoing_size += len(data)
        if self._outgoing_size > PAUSES_AT:  # only what was written can tell of a slow client
            self._flush()

    def _flush(self) -> None:
        outgoing, self._outgoing, self._outgoing_size = self._outgoing, [], 0
        if outgoing and not self._transport.is_closing():
            self._transport.write(outgoing[0] if len(outgoing) == 1 else b"".join(outgoing))
            if self._held_unread:  # what was on its way when the client fell behind
                self._count_unread()

    def _close(self) -> None:
        self._flush()
        self._transport.close()

    # --- housekeeping, called by the front

    def cut(self) -> None:
        """Ends the connection in the middle of whatever is under way."""
        self._transport.abort()

    def close_if_idle(self) -> None:
        """Ends the connection where no call is being read or answered."""
        if not self._busy and not self._reading_since:
            self._close()

    def check(self, now: float) -> None:
        """Ends a connection that takes too long to say something, or to take what it is told."""
        if self._busy and not self._write_paused:
            return
        unread = self._transport.get_write_buffer_size()
        if unread:
            self._check_taking(unread, now)
        elif not self._busy:
            self._check_saying(now)

    def _check_taking(self, unread: int, now: float) -> None:
        """A client that takes its answer in is not idle, however slow it is."""
        if not self._unread or unread < self._unread:
            self._taken_at = now
        elif now - self._taken_at > self._front.limits.stalled_s:
            self._transport.abort()
        self._unread = unread
        self._idle_since = now

    def _check_saying(self, now: float) -> None:
        limits = self._front.limits
        if self._refused_at:
            if now - self._refused_at > limits.linger_s:
                self._transport.abort()
        elif self._reading_since:
            allowed = limits.body_timeout_s if self._reading_body else limits.head_timeout_s
            if now - self._reading_since > allowed:
                self._refuse(408, f"The request did not arrive within {allowed:g} s.", "request_timeout")
        elif now - self._idle_since > limits.idle_timeout_s:
            self._transport.close()
