"""An engine that does exactly what a test tells it to, byte by byte."""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from typing import Any, cast

from tests.support import wire

PATIENCE_S = 10.0  # more than anything takes; who waits longer waits for ever
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: a close sends RST


class Call:
    """A request an engine got, and the line back to who sent it."""

    def __init__(self, head: bytes, body: bytes, line: "Line") -> None:
        self.head = head
        self.body = body
        self._line = line

    @cached_property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def gone(self) -> asyncio.Event:
        """The caller closed the connection."""
        return self._line.gone

    async def left(self) -> None:
        """Waits for the caller to close the connection; fails where it does not."""
        async with asyncio.timeout(PATIENCE_S):
            await self.gone.wait()

    async def send(self, *pieces: bytes) -> None:
        """Sends pieces, each on its way before the next."""
        for piece in pieces:
            self._line.transport.write(piece)
            await asyncio.sleep(0)

    async def drained(self) -> None:
        """Waits while the caller reads slower than it is sent to."""
        await self._line.writable.wait()

    @property
    def waits(self) -> bool:
        """Whether the caller reads slower than it is sent to."""
        return not self._line.writable.is_set()

    def read_no_more(self) -> None:
        self._line.transport.pause_reading()

    def close(self) -> None:
        self._line.transport.close()

    def reset(self) -> None:
        self._line.reset()


Script = Callable[[Call], Awaitable[None]]


async def stays(call: Call) -> None:
    """Keeps the connection open for the next call."""


async def closes(call: Call) -> None:
    call.close()


async def resets(call: Call) -> None:
    call.reset()


async def hangs(call: Call) -> None:
    """Says nothing more, until the caller leaves."""
    await call.gone.wait()


def says(*pieces: bytes, then: Script = stays) -> Script:
    """Sends these bytes, whatever they are."""

    async def script(call: Call) -> None:
        await call.send(*pieces)
        await then(call)

    return script


def answers(body: bytes = b"", status: int = 200, headers: dict[str, str] | None = None) -> Script:
    """A response in one piece."""
    return says(wire.response(body or wire.completion(), status, headers))


def streams(*events: bytes, then: Script = stays) -> Script:
    """A well-formed stream of these events."""
    return says(wire.STREAM_HEAD, *wire.chunked(events), then=then)


def begins(*events: bytes, then: Script = hangs) -> Script:
    """A stream that does not end by itself after these events."""
    return says(wire.STREAM_HEAD, *map(wire.chunk, events), then=then)


def waits_for(signal: asyncio.Event, then: Script) -> Script:
    """Does nothing before the signal."""

    async def script(call: Call) -> None:
        await signal.wait()
        await then(call)

    return script


def never_ends(piece: bytes) -> Script:
    """Streams the same event as fast as the caller reads, for ever."""

    async def script(call: Call) -> None:
        await call.send(wire.STREAM_HEAD)
        while not call.gone.is_set():
            await call.send(wire.chunk(piece))
            await call.drained()

    return script


class Line(asyncio.Protocol):
    """One connection to the engine."""

    def __init__(self, engine: "Upstream") -> None:
        self._engine = engine
        self._received = bytearray()
        self._news = asyncio.Event()
        self.gone = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._engine.joined(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        self.writable.set()
        self._news.set()
        self._engine.left(self)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.transport.abort()

    async def next_call(self) -> Call | None:
        """The next request; None where the caller left instead."""
        head = await self._until(
            lambda: self._received.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in self._received else 0
        )
        if head is None:
            return None
        call = Call(head[:-4], b"", self)
        length = int(call.headers.get("content-length", "0"))
        body = await self._until(lambda: length if len(self._received) >= length else 0) if length else b""
        if body is None:
            return None
        call.body = body
        return call

    async def _until(self, found: Callable[[], int]) -> bytes | None:
        while not (size := found()):
            if self.gone.is_set():
                return None
            self._news.clear()
            await self._news.wait()
        taken = bytes(self._received[:size])
        del self._received[:size]
        return taken


class Upstream:
    """Serves on a port of its own. Each call takes the next script; without one it gets a plain answer."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.calls: list[Call] = []
        self.port = 0
        self.accepted = 0  # connections so far
        self.always: Script = answers()
        self.on_connect: Script | None = None  # instead of reading requests
        self._scripts: deque[Script] = deque()
        self._arrived = asyncio.Condition()
        self._lines: set[Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._lines)

    def will(self, *scripts: Script) -> None:
        """What happens to the next calls, one each."""
        self._scripts.extend(scripts)

    def forget(self) -> None:
        """Begins anew: no calls and no connections so far, and a plain answer to each call."""
        for line in self._lines:
            line.transport.abort()
        self.calls.clear()
        self._scripts.clear()
        self.always = answers()

    async def call(self, number: int = 1) -> Call:
        """The `number`-th call, once it is here."""
        async with asyncio.timeout(PATIENCE_S), self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= number)
        return self.calls[number - 1]

    async def listen(self) -> None:
        """Serves, again on the same port where it served before."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Line(self), "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Refuses new connections and drops those there are."""
        self.accept_no_more()
        for line in list(self._lines):
            line.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def accept_no_more(self) -> None:
        """Refuses new connections; those there are stay."""
        if self._server is not None:
            self._server.close()

    def drop_idle(self) -> None:
        """Closes all connections, as an engine does whose keep-alive ended."""
        for line in self._lines:
            line.transport.close()

    def joined(self, line: Line) -> None:
        self.accepted += 1
        self._lines.add(line)
        task = asyncio.get_running_loop().create_task(self._serve(line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def left(self, line: Line) -> None:
        self._lines.discard(line)

    async def _serve(self, line: Line) -> None:
        if self.on_connect is not None:
            await self.on_connect(Call(b"", b"", line))
            return
        while (call := await line.next_call()) is not None:
            script = self._scripts.popleft() if self._scripts else self.always
            async with self._arrived:
                self.calls.append(call)
                self._arrived.notify_all()
            await script(call)


@asynccontextmanager
async def upstream(tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    """A programmable engine that listens."""
    engine = Upstream(tls)
    await engine.listen()
    try:
        yield engine
    finally:
        await engine.refuse()


@contextmanager
def unreachable() -> Iterator[str]:
    """The URL of a machine that never answers a connection attempt: its backlog is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
