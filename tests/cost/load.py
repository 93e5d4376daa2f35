"""Calls chat endpoints at an even pace, whatever the answers do; half of the answers are streamed.

python -m tests.cost.load PORT... --keys FILE --rate 10 --seconds 30

`FILE` holds a key a line, used in turn. It prints `Sent` as a line of JSON.
"""

import argparse
import asyncio
import sys
import time
from collections import deque
from pathlib import Path
from typing import cast

import httptools
import msgspec
import uvloop

MODEL = "gemma-3-4b-it"
TOKENS = 8
PROMPT = "Why does water in a penstock stand under pressure? Answer in one sentence."
GRACE_S = 60.0


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """`rate`: calls a second, as it came out. `late_ms`: how late the latest call began."""

    answered: int
    failed: int
    rate: float
    late_ms: float


class Connection(asyncio.Protocol):
    """One connection; free again once an answer is whole."""

    def __init__(self, load: "Load", port: int) -> None:
        self._load = load
        self._port = port
        self._parser = httptools.HttpResponseParser(self)
        self._calling = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def call(self, request: bytes) -> None:
        self._calling = True
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_complete(self) -> None:
        self._calling = False
        self._load.ended(self._parser.get_status_code() == 200)
        self._load.free[self._port].append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._calling:
            self._load.ended(False)
        elif self in self._load.free[self._port]:
            self._load.free[self._port].remove(self)


class Load:
    """Calls in turn: routers, keys, streamed or not."""

    def __init__(self, ports: list[int], keys: list[str]) -> None:
        self.free: dict[int, deque[Connection]] = {port: deque() for port in ports}
        self.answered = self.failed = self._under_way = 0
        self._ports = ports
        self._requests = [(request(key, stream=False), request(key, stream=True)) for key in keys]
        self._calls: set[asyncio.Task[None]] = set()

    def ended(self, well: bool) -> None:
        self._under_way -= 1
        self.answered += well
        self.failed += not well

    async def run(self, rate: float, seconds: float) -> Sent:
        began, late = time.perf_counter(), 0.0
        number = 0
        for number in range(1, max(1, round(rate * seconds)) + 1):
            wait = began + number / rate - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            late = max(late, -wait)
            task = asyncio.create_task(self._call(number))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        took = time.perf_counter() - began
        async with asyncio.timeout(GRACE_S):
            while self._under_way or self._calls:
                await asyncio.sleep(0.01)
        return Sent(answered=self.answered, failed=self.failed, rate=number / took, late_ms=late * 1000)

    async def _call(self, number: int) -> None:
        self._under_way += 1
        port = self._ports[number % len(self._ports)]
        chosen = self._requests[number % len(self._requests)][number // len(self._requests) % 2]
        try:
            connection = self.free[port].popleft() if self.free[port] else await self._connect(port)
        except OSError:
            self.ended(False)
        else:
            connection.call(chosen)

    async def _connect(self, port: int) -> Connection:
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: Connection(self, port), "127.0.0.1", port)
        return made


def body(*, stream: bool) -> bytes:
    """What every call asks."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": TOKENS}
    return msgspec.json.encode(asked | ({"stream": True} if stream else {}))


def request(key: str, *, stream: bool) -> bytes:
    """The bytes of a call."""
    content = body(stream=stream)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: router\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def main() -> None:
    parser = argparse.ArgumentParser(description="Calls chat endpoints at an even pace.")
    parser.add_argument("ports", type=int, nargs="+")
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    load = Load(options.ports, options.keys.read_text().split())
    sent = uvloop.run(load.run(options.rate, options.seconds))
    sys.stdout.buffer.write(msgspec.json.encode(sent) + b"\n")


if __name__ == "__main__":
    main()
