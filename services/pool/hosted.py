"""A hosted endpoint: it asks for a key, has paths of its own, and may speak a dialect."""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Protocol

from events.config import Backend, Kind
from services.pool.credentials import Credentials
from services.pool.flight import Failure, Flight, Headers, Receiver, value_of
from services.pool.gemini import Gemini
from services.pool.replica import Replica
from services.pool.tls import usual_tls

LARGEST_ERROR = 2**20
IDLE_S = 30.0  # a new TLS connection costs two round trips; load balancers wait a minute and longer
ERROR = 400


class Dialect(Protocol):
    """Where an endpoint's words for a call are not OpenAI's. One for each call."""

    def request(self, body: bytes) -> bytes:
        """The body as it is understood there."""

    def events(self, data: bytes) -> bytes:
        """What a piece of a stream tells, in whole events."""

    def rest(self) -> bytes:
        """What is left of a stream that ended."""

    def refused(self, headers: Headers, body: bytes) -> Headers:
        """The headers an error should have had."""


class OpenAi:
    """No dialect at all."""

    def request(self, body: bytes) -> bytes:
        """See `Dialect`."""
        return body

    def events(self, data: bytes) -> bytes:
        """See `Dialect`."""
        return data

    def rest(self) -> bytes:
        """See `Dialect`."""
        return b""

    def refused(self, headers: Headers, body: bytes) -> Headers:
        """See `Dialect`."""
        return headers


DIALECTS: dict[Kind, Callable[[], Dialect]] = {"openai": OpenAi, "gemini": Gemini}


class HostedReplica(Replica):
    """Speaks to the endpoint of a backend. Our paths begin with `/v1`; there its `url` stands instead."""

    idle_timeout_s = IDLE_S

    def __init__(
        self,
        backend: Backend,
        credentials: Credentials | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        tls: Callable[[], ssl.SSLContext] = usual_tls,
    ) -> None:
        super().__init__(backend.url or "", clock=clock, tls=tls)
        self._credentials = credentials
        self._dialect = DIALECTS[backend.kind]

    def send(self, path: str, fields: bytes, body: bytes, receiver: Receiver) -> Flight:
        """See `Replica`. Without its key nothing is sent."""
        line = self._credentials.header() if self._credentials else b""
        if self._credentials is not None and not line:
            return self._without_key(receiver, self._credentials.lacking())
        dialect = self._dialect()
        told = Hearing(receiver, dialect, line)
        return super().send(path, fields + line, dialect.request(body), told)

    def _target(self, path: str) -> str:
        return self._base + path.removeprefix("/v1")

    def _without_key(self, receiver: Receiver, lacking: str) -> Flight:
        flight = Flight(self, b"", b"", receiver, self.now())
        self.in_flight += 1
        asyncio.get_running_loop().call_soon(self.refuse, flight, f"{self.url} needs {lacking}")
        return flight


class Hearing:
    """A `Receiver` that tells another in OpenAI's words. An error is told once it is whole, and without the
    key, whatever the endpoint repeats of what it was sent.
    """

    __slots__ = ("_dialect", "_error", "_head", "_key", "_streams", "_to")

    def __init__(self, to: Receiver, dialect: Dialect, line: bytes) -> None:
        self._to = to
        self._dialect = dialect
        self._key = line.removeprefix(b"authorization: Bearer ").strip()
        self._head: tuple[int, Headers] | None = None  # of an error, not told yet
        self._error = b""
        self._streams = False

    def sent(self) -> None:
        """See `Receiver`."""
        self._to.sent()

    def responded(self, status: int, headers: Headers) -> None:
        """See `Receiver`."""
        if status >= ERROR:
            self._head = (status, headers)
            return
        self._streams = (value_of(headers, b"content-type") or b"").startswith(b"text/event-stream")
        self._to.responded(status, headers)

    def received(self, data: bytes) -> None:
        """See `Receiver`."""
        if self._head is not None:
            self._error = (self._error + data)[:LARGEST_ERROR]
        elif not self._streams:
            self._to.received(data)
        elif events := self._dialect.events(data):
            self._to.received(events)

    def completed(self) -> None:
        """See `Receiver`."""
        if self._head is not None:
            self._tell_error(*self._head)
        elif self._streams and (rest := self._dialect.rest()):
            self._to.received(rest)
        self._to.completed()

    def _tell_error(self, status: int, headers: Headers) -> None:
        body = self._error.replace(self._key, b"***") if self._key else self._error
        self._to.responded(status, self._dialect.refused(headers, body))
        self._to.received(body)

    def failed(self, failure: Failure) -> None:
        """See `Receiver`."""
        self._to.failed(failure)
