"""The listening side: accepts connections, keeps their housekeeping, drains them at the end."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from email.utils import formatdate

from services.front.call import Endpoint
from services.front.connection import Connection
from services.front.descriptors import exhausted, most_connections
from services.front.limits import Budget, Limits
from services.wire.fields import Fields
from services.wire.turn import Turn

TICK_S = 0.5
TOLD_AT_ONCE = 256  # connections too many that are told so; what is beyond is cut without a word
COMPLAINS_EVERY_S = 60.0

log = logging.getLogger("penstock.front")

Refusals = Callable[[int, str, str], tuple[Fields, bytes]]


class Front:
    """Serves one endpoint on one socket. `render_refusal(status, message, code)` makes header lines and
    body of what the front itself has to refuse.
    """

    def __init__(
        self, endpoint: Endpoint, *, render_refusal: Refusals, limits: Limits | None = None, budget: Budget
    ) -> None:
        self.endpoint = endpoint
        self.render_refusal = render_refusal
        self.limits = limits or Limits()
        self.budget = budget
        self.draining = False
        self.date = b""
        self.turn = Turn()
        self.now: Callable[[], float] = asyncio.get_running_loop().time
        self._connections: set[Connection] = set()
        self._most = self.limits.connections
        self._complained_at = float("-inf")
        self._emptied = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    async def listen(self, host: str, port: int) -> int:
        """Starts serving and returns the port (0 asks for any). Raises `OSError` where it is taken."""
        self._most = most_connections(self.limits.connections)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=2048)
        self._tick()
        bound: socket.socket = self._server.sockets[0]
        return int(bound.getsockname()[1])

    async def close(self, grace_s: float) -> None:
        """Stops accepting, lets calls under way end for `grace_s`, then cuts the rest."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close_if_idle()
        await self._empty(grace_s)
        for connection in list(self._connections):
            connection.cut()
        await self._empty(1.0)
        if self._ticker is not None:
            self._ticker.cancel()

    async def _empty(self, within_s: float) -> None:
        """Waits for the last client to leave."""
        self._emptied.clear()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), within_s)

    def joined(self, connection: Connection) -> None:
        """A client connected. One too many is told so; of very many, the rest is just cut."""
        self._connections.add(connection)
        too_many = len(self._connections) - self._most
        if too_many > 0:
            self._complain(f"More than {self._most} clients are connected: further ones are turned away.")
            if too_many <= TOLD_AT_ONCE:
                connection.turn_away()
            else:
                connection.cut()

    def left(self, connection: Connection) -> None:
        """A client is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._emptied.set()

    def _tick(self) -> None:
        self.date = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        now = self.now()
        for connection in list(self._connections):
            connection.check(now)
        if exhausted():  # a loop does not tell of connections it could not accept, or tells too often
            self._complain("No file descriptor is free: clients that connect now are dropped.")
        self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _complain(self, message: str) -> None:
        """Logs a trouble that may last, once a minute at most."""
        now = self.now()
        if now - self._complained_at >= COMPLAINS_EVERY_S:
            self._complained_at = now
            log.warning(message)
