"""An HTTP client that sends exactly the bytes it is given, and hides nothing of what comes back."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support import wire

PATIENCE_S = 10.0
NOT_BODIED = frozenset({204, 304})


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What came back; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error object of OpenAI's envelope."""
        found: dict[str, Any] = self.json["error"]
        return found


@dataclass(slots=True)
class Client:
    """One connection. Every wait ends within a patience; what takes longer would never come."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heads: list[bytes] = field(default_factory=list)  # as they came

    async def send(self, *pieces: bytes) -> None:
        """Sends pieces, each in a segment of its own."""
        for piece in pieces:
            self.writer.write(piece)
            await asyncio.sleep(0)

    async def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Response:
        """Sends a request and reads the response to it."""
        await self.send(wire.request(method, path, body, headers))
        return await self.response(head_only=method == "HEAD")

    async def response(self, *, head_only: bool = False) -> Response:
        """The next response, whole."""
        head = await self.head()
        if head_only or head.status in NOT_BODIED or head.status < 200:
            return head
        async with asyncio.timeout(PATIENCE_S):
            body = b"".join([piece async for piece in self._body(head)])
        return Response(status=head.status, headers=head.headers, body=body)

    async def head(self) -> Response:
        """The head of the next response; its body is not read."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        status, *lines = head[:-4].decode("latin-1").split("\r\n")
        fields = (line.partition(": ") for line in lines)
        return Response(
            status=int(status.split()[1]), headers={name.lower(): value for name, _, value in fields}
        )

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        async with asyncio.timeout(PATIENCE_S):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            return (await self.reader.readexactly(size + 2))[:-2]

    async def _body(self, head: Response) -> AsyncIterator[bytes]:
        if head.headers.get("transfer-encoding") == "chunked":
            while piece := await self.chunk():
                yield piece
        elif "content-length" in head.headers:
            yield await self.reader.readexactly(int(head.headers["content-length"]))
        else:
            yield await self.reader.read()

    async def rest(self) -> bytes:
        """Everything up to the end of the connection; fails where it does not end."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.read()

    async def is_told_nothing(self, within_s: float = 0.03) -> bool:
        """Whether nothing comes for a while."""
        try:
            await asyncio.wait_for(self.reader.readexactly(1), within_s)
        except TimeoutError:
            return True
        return False

    async def is_cut(self) -> bool:
        """Whether the connection ends with a reset; what still comes before is dropped."""
        try:
            await self.rest()
        except ConnectionResetError:
            return True
        return False

    def half_close(self) -> None:
        """Says that nothing more will be sent, but goes on reading."""
        self.writer.write_eof()

    def close(self) -> None:
        """Leaves politely."""
        self.writer.close()

    def reset(self) -> None:
        """Leaves as a client that crashed."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def connected(port: int, *, receive_buffer: int | None = None) -> AsyncIterator[Client]:
    """A connection to a port of this machine. With a small receive buffer, not reading is felt soon."""
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    reader, writer = await asyncio.open_connection(sock=sock, limit=receive_buffer or 2**20)
    client = Client(reader, writer)
    try:
        yield client
    finally:
        writer.transport.abort()


async def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """One request on a connection of its own."""
    async with connected(port) as client:
        return await client.ask(method, path, body, {"connection": "close", **(headers or {})})
