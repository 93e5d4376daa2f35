"""Engines to talk to, and plain sockets to do it with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from services.rehearsal.endpoint import Options
from services.rehearsal.engine import RehearsalEngine
from services.rehearsal.journal import Accepted, Ended, Row, read_rows
from services.rehearsal.profiles import INSTANT

CHAT = "/v1/chat/completions"
PATIENCE_S = 10.0


class Reply(NamedTuple):
    """What came back until the connection closed; `whole` where the protocol says that this is all."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def text(self) -> str:
        """The contents of a stream's events."""
        choices = [choice for event in events(self.body) for choice in event["choices"]]
        return "".join(choice["delta"].get("content", "") for choice in choices)


def events(body: bytes) -> list[Any]:
    """A stream's events that are JSON objects."""
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n\n")]
    return [msgspec.json.decode(line) for line in lines if line.startswith(b"{")]


def tokens_in(body: bytes) -> int:
    """How many tokens a stream brought."""
    return body.count(b'"delta":{"content":')


def ask(content: str = "Why?", **fields: object) -> bytes:
    """A chat completion's body."""
    message = {"role": "user", "content": content}
    return msgspec.json.encode({"model": "gemma-3-4b-it", "messages": [message], **fields})


def request(path: str, body: bytes, headers: dict[str, str] | None = None, method: str = "POST") -> bytes:
    """A request's bytes."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return (
        f"{method} {path} HTTP/1.1\r\nhost: x\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body
    )


class Talk:
    """One engine under test."""

    def __init__(self, port: int, log_path: Path | None = None) -> None:
        self.port = port
        self.log_path = log_path

    # --- requests

    async def open(self, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which that much was said."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        return reader, writer

    async def call(
        self, path: str, body: bytes = b"", headers: dict[str, str] | None = None, method: str = "POST"
    ) -> Reply:
        """One request on a connection of its own."""
        asked = request(path, body, {"connection": "close", **(headers or {})}, method)
        reader, writer = await self.open(asked)
        try:
            return parsed(await asyncio.wait_for(reader.read(-1), PATIENCE_S))
        finally:
            writer.close()

    async def chat(self, attempt: str = "", fault: str = "", **fields: object) -> Reply:
        """One chat completion."""
        headers = {"x-penstock-attempt": attempt} | ({"x-rehearsal-fault": fault} if fault else {})
        return await self.call(CHAT, ask(**fields), headers)  # type: ignore[arg-type]

    # --- control and log

    async def control(self, name: str, **fields: object) -> Any:
        """Pulls a string."""
        reply = await self.call(f"/rehearsal/{name}", msgspec.json.encode(fields))
        assert 200 == reply.status, reply
        return reply.json

    async def state(self) -> Any:
        return (await self.call("/rehearsal/state", method="GET")).json

    def rows(self, attempt: str | None = None) -> list[Row]:
        assert self.log_path is not None
        return [row for row in read_rows(self.log_path) if attempt in (None, row.attempt)]

    def accepted(self) -> list[Accepted]:
        return [row for row in self.rows() if isinstance(row, Accepted)]

    def ended(self, attempt: str | None = None) -> list[Ended]:
        return [row for row in self.rows(attempt) if isinstance(row, Ended)]

    async def end_of(self, attempt: str) -> Ended:
        """Its row, once it is there."""
        await until(lambda: bool(self.ended(attempt)))
        (row,) = self.ended(attempt)
        return row


def parsed(data: bytes) -> Reply:
    """A reply's bytes, read to the end of the connection."""
    if not data:
        return Reply(0, {}, b"", False)
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    status = int(first.split()[1])
    if "content-length" in headers:
        return Reply(status, headers, rest, len(rest) == int(headers["content-length"]))
    return Reply(status, headers, *_unchunked(rest))


def _unchunked(data: bytes) -> tuple[bytes, bool]:
    pieces: list[bytes] = []
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return b"".join(pieces), True
        pieces.append(data[:length])
        data = data[length + 2 :]
    return b"".join(pieces), False


async def until(true: Callable[[], bool | Awaitable[bool]]) -> None:
    """Waits for something to become true; fails where it does not."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            now = true()
            if now if isinstance(now, bool) else await now:
                return
            await asyncio.sleep(0.002)


@asynccontextmanager
async def engine(folder: Path | None = None, **options: Any) -> AsyncIterator[Talk]:
    """An engine without delays and with control, unless the options say otherwise."""
    log_path = None if folder is None else folder / "attempts.jsonl"
    running = RehearsalEngine(
        Options(**{"profile": INSTANT, "control": True, "log_path": log_path, **options})
    )
    try:
        yield Talk(await running.start(), log_path)
    finally:
        await running.close()
