"""One engine of the pool: its address, its open connections and what is under way there."""

import asyncio
import hashlib
import logging
import ssl
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from events.words import Invalid
from services.pool.connection import Connection
from services.pool.flight import Failure, Flight, Receiver
from services.pool.tls import usual_tls, why_not
from services.wire.turn import Turn

IDLE_TIMEOUT_S = 3.0  # uvicorn, and with it vLLM, hangs up after 5 s; others later
SLOW_CONNECT_S = (
    1.0  # a connection given up after so long was not made: the first retry of a lost SYN is over
)
GOODBYE_S = 1.0  # how long an engine may take to end TLS in good order
FAILURES = 5  # in a row, and a replica is put aside
FIRST_ASIDE_S = 2.0
LAST_ASIDE_S = 30.0
NEWEST = 0.3  # how much the last stream's beginning weighs against those before it
REMEMBERED_S = 60.0
PORTS = {"http": 80, "https": 443}

log = logging.getLogger("penstock.pool")


class Replica:
    """Speaks HTTP/1.1 to one base URL over as many keep-alive connections as are needed at once; by TLS where
    that begins with https. `tls` says whose certificates are taken: by default those of `usual_tls`.

    It is its own circuit breaker. Where no connection can be made, or `FAILURES` calls in a row came to
    nothing, it is put aside until `aside_until`, by its own clock; the picker goes by that. Each failed trial
    doubles the pause, and the first whole answer ends it: `aside_until` is 0 again.
    """

    idle_timeout_s = IDLE_TIMEOUT_S

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        tls: Callable[[], ssl.SSLContext] = usual_tls,
    ) -> None:
        self.url = url.rstrip("/")
        try:
            parts = urlsplit(self.url)
            usual = PORTS[parts.scheme]
            self.host = parts.hostname or ""
            self.port = parts.port or usual
        except (ValueError, KeyError) as error:
            raise Invalid(f"The replica {url!r} is not a base URL like http://host:port.") from error
        self._named = _named(self.host, self.port, usual)
        self._base = parts.path
        self._tls = tls if parts.scheme == "https" else None
        self._retired = False
        self.in_flight = 0
        self.salt = int.from_bytes(hashlib.blake2b(self.url.encode(), digest_size=8).digest())
        self.turn = Turn()
        self._heads: dict[str, bytes] = {}
        self._idle: list[Connection] = []
        self.now = clock
        self.aside_until = 0.0
        self._aside_since = float("-inf")
        self._aside_s = 0.0
        self.failures = 0  # calls in a row that came to nothing
        self._begins_s = 0.0  # how long a stream takes to begin, the last ones weighing more
        self._began_at = float("-inf")

    def __repr__(self) -> str:
        return f"Replica({self.url}, in_flight={self.in_flight})"

    def send(self, path: str, fields: bytes, body: bytes, receiver: Receiver) -> Flight:
        """POSTs `body` (JSON); `fields` are further header lines, each ending in CRLF.

        The receiver may hear `sent` before this returns; everything else comes later.
        """
        head = b"%bcontent-length: %d\r\n%b\r\n" % (self._start_of(path), len(body), fields)
        flight = Flight(self, head, body, receiver, self.now())
        self.in_flight += 1
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                connection.carry(flight)
                return flight
        flight.dial = asyncio.get_running_loop().create_task(self._dial(flight))
        return flight

    def _start_of(self, path: str) -> bytes:
        start = self._heads.get(path)
        if start is None:
            start = (
                f"POST {self._target(path)} HTTP/1.1\r\nhost: {self._named}\r\n"
                "user-agent: penstock\r\ncontent-type: application/json\r\naccept-encoding: identity\r\n"
            ).encode()
            self._heads[path] = start
        return start

    def _target(self, path: str) -> str:
        """Where one of our paths, such as `/v1/chat/completions`, lies there."""
        return self._base + path

    async def _dial(self, flight: Flight) -> None:
        began = self.now()
        try:
            connection = await self._connect()
        except OSError as error:
            self.put_aside(began)
            message = f"no connection to {self.url}: {why_not(error)}"
            if isinstance(error, ssl.SSLError):  # it does not pass by itself: somebody has to know
                log.warning("%s", message)
            self.refuse(flight, message)
            return
        except asyncio.CancelledError:
            if self.now() - began >= SLOW_CONNECT_S:
                self.put_aside(began)
            raise
        if not self.failures:
            self.recovered()
        flight.dial = None
        if flight.over:
            connection.abandon()
        else:
            connection.carry(flight)

    async def _connect(self) -> Connection:
        loop, tls = asyncio.get_running_loop(), self._tls
        if tls is None:
            _, connection = await loop.create_connection(lambda: Connection(self), self.host, self.port)
            return connection
        _, secured = await loop.create_connection(
            lambda: Connection(self),
            self.host,
            self.port,
            ssl=tls(),
            server_hostname=self.host,
            ssl_shutdown_timeout=GOODBYE_S,
        )
        return secured

    @staticmethod
    def refuse(flight: Flight, message: str) -> None:
        """Ends a flight that could not begin."""
        if flight.end():
            flight.receiver.failed(Failure(kind="connect", message=message))

    def put_aside(self, began: float) -> None:
        """No connection was made. One begun before it was put aside the last time says nothing new."""
        if began >= self._aside_since:
            self._aside_s = min(2 * self._aside_s, LAST_ASIDE_S) or FIRST_ASIDE_S
            self._aside_since = self.now()
            self.aside_until = self._aside_since + self._aside_s

    def take_trial(self) -> None:
        """It was put aside, and is called now to see: others wait for what comes of it, or another pause."""
        self.aside_until = self.now() + self._aside_s

    def recovered(self) -> None:
        """It is there."""
        self.aside_until = self._aside_s = 0.0
        self.failures = 0

    def failed(self, began: float) -> None:
        """A call begun at `began`, by its clock, came to nothing, and not by its caller's fault."""
        self.failures += 1
        if self.failures >= FAILURES:
            self.put_aside(began)

    def began_after(self, seconds: float) -> None:
        """A stream's first token came so long after its call."""
        known, self._began_at = self.begins_s, self.now()
        self._begins_s = seconds if known is None else known + NEWEST * (seconds - known)

    @property
    def begins_s(self) -> float | None:
        """How long a stream takes here to begin; None where there was none of late."""
        return self._begins_s if self.now() - self._began_at < REMEMBERED_S else None

    def idle(self, connection: Connection) -> None:
        """A connection is free for the next call: what it carried was answered."""
        if self._retired:
            connection.close()
            return
        connection.idle_since = self.now()
        self._idle.append(connection)

    def left(self, connection: Connection) -> None:
        """A connection closed."""
        if connection in self._idle:
            self._idle.remove(connection)

    def tidy(self) -> None:
        """Closes connections nobody needed for a while; called every second."""
        oldest = self.now() - self.idle_timeout_s
        for connection in [c for c in self._idle if c.idle_since < oldest]:
            self._idle.remove(connection)
            connection.close()

    def close(self) -> None:
        """Closes the idle connections."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def retire(self) -> None:
        """No new calls come: idle connections close now, the others as soon as their call ended."""
        self._retired = True
        self.close()


def _named(host: str, port: int, usual: int) -> str:
    """As it is called in a request's `host` field."""
    name = f"[{host}]" if ":" in host else host
    return name if port == usual else f"{name}:{port}"
