"""uvicorn in place of our front: the same endpoints behind a server that others keep."""

import asyncio
import time
from email.utils import formatdate
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from services.front.application import Application
from services.front.call import Endpoint
from services.front.front import Refusals
from services.front.limits import Budget, Limits

TICK_S = 0.5
LOOK_S = 0.02
FLUSH_S = 0.1  # for what was answered to go out: that takes some turns of the loop here


class UvicornFront:
    """As `Front`, by uvicorn's own connections. What those do not bound is not bounded: how long a head or a
    body may take, and how many clients are connected beyond `limits.connections` (they get a 503).
    """

    def __init__(
        self, endpoint: Endpoint, *, render_refusal: Refusals, limits: Limits | None = None, budget: Budget
    ) -> None:
        self._limits = limits or Limits()
        self._app = Application(endpoint, render_refusal=render_refusal, limits=self._limits, budget=budget)
        self._state: ServerState | None = None
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._closing: set[Any] = set()  # connections that were, a tick ago

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return 0 if self._state is None else len(self._state.connections)

    async def listen(self, host: str, port: int) -> int:
        """Starts serving and returns the port (0 asks for any). Raises `OSError` where it is taken."""
        config = Config(
            self._app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=round(self._limits.idle_timeout_s),
            limit_concurrency=self._limits.connections,
        )
        config.load()
        state = self._state = ServerState()

        def connection() -> asyncio.Protocol:
            made: Any = config.http_protocol_class
            protocol: asyncio.Protocol = made(config=config, server_state=state, app_state={})
            return protocol

        self._server = await asyncio.get_running_loop().create_server(connection, host, port, backlog=2048)
        self._tick()
        return int(self._server.sockets[0].getsockname()[1])

    def _tick(self) -> None:
        assert self._state is not None
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        closing = {connection for connection in self._state.connections if connection.transport.is_closing()}
        for connection in closing & self._closing:  # its client takes nothing, and never would
            connection.transport.abort()
        self._closing = closing
        self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    async def close(self, grace_s: float) -> None:
        """Stops accepting, lets calls under way end for `grace_s`, then cuts the rest."""
        state = self._state
        if self._server is None or state is None:
            return
        self._server.close()
        for connection in list(state.connections):
            connection.shutdown()
        deadline = time.monotonic() + max(grace_s, FLUSH_S)
        while state.connections and time.monotonic() < deadline:  # noqa: ASYNC110  (uvicorn tells nobody)
            await asyncio.sleep(LOOK_S)
        for connection in list(state.connections):
            connection.transport.abort()
        for task in list(state.tasks):
            task.cancel()
        if state.tasks:
            await asyncio.gather(*state.tasks, return_exceptions=True)
        if self._ticker is not None:
            self._ticker.cancel()
