"""Calls a chat endpoint over some connections, each its next call once its last was answered whole.

python -m tests.bench.programs.client URL --key KEY --body FILE [--connections 16] [--seconds 3]

No call is cut off at the end, so that what was answered can be compared with what was billed. It prints
`tests.bench.results.Calls` as a line of JSON.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop

from tests.bench.results import Calls, micros, percentile

STAGGER_S = 0.003  # between one connection's first call and the next one's
MAX_FAILURES = 100


class Tally:
    """What all connections got, in seconds and pieces."""

    def __init__(self, seconds: float) -> None:
        self.began = time.perf_counter()
        self.until = self.began + seconds
        self.answered = self.failed = self.events = 0
        self.firsts: list[float] = []
        self.gaps: list[float] = []

    @property
    def over(self) -> bool:
        """No further call is to begin."""
        return time.perf_counter() >= self.until or self.failed > MAX_FAILURES

    def calls(self) -> Calls:
        """The tally in figures."""
        firsts, gaps = sorted(self.firsts), sorted(self.gaps)
        return Calls(
            answered=self.answered,
            failed=self.failed,
            events=self.events,
            seconds=time.perf_counter() - self.began,
            first_p50_us=micros(percentile(firsts, 0.5)),
            first_p99_us=micros(percentile(firsts, 0.99)),
            gap_p99_us=micros(percentile(gaps, 0.99)),
            gap_p999_us=micros(percentile(gaps, 0.999)),
        )


class Connection(asyncio.Protocol):
    """One connection, call after call; `lost` is done once it is closed."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._tally = tally
        self._parser = httptools.HttpResponseParser(self)
        self._calling = False
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)
        self._call()

    def _call(self) -> None:
        if self._tally.over:
            self._transport.close()
            return
        self._calling = True
        self._last_at = 0.0
        self._called_at = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_body(self, body: bytes) -> None:
        """A piece of the answer."""
        now = time.perf_counter()
        if self._last_at:
            self._tally.gaps.append(now - self._last_at)
        else:
            self._tally.firsts.append(now - self._called_at)
        self._last_at = now
        text = self._tail + body
        self._tally.events += text.count(b"\n\n")
        self._tail = b"\n" if text.endswith(b"\n") and not text.endswith(b"\n\n") else b""

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self._calling = False
        if self._parser.get_status_code() == 200:
            self._tally.answered += 1
        else:
            self._tally.failed += 1
        self._call()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self._calling:
            self._tally.failed += 1
        if not self.lost.done():
            self.lost.set_result(None)


def request(url: str, key: str, body: bytes) -> bytes:
    """The bytes of every call."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def keep_calling(number: int, url: str, content: bytes, tally: Tally) -> None:
    """One connection after the other, until the time is over."""
    await asyncio.sleep(number * STAGGER_S)
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    while not tally.over:
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(content, tally), parts.hostname or "", parts.port or 80
            )
        except OSError:
            tally.failed += 1
            await asyncio.sleep(0.05)
        else:
            await connection.lost


async def run(options: argparse.Namespace) -> Calls:
    """All connections together."""
    content = request(options.url, options.key, options.body.read_bytes())
    tally = Tally(options.seconds)
    connections = range(options.connections)
    await asyncio.gather(*(keep_calling(number, options.url, content, tally) for number in connections))
    return tally.calls()


def read_options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Calls a chat endpoint, and leaves no call unanswered.")
    parser.add_argument("url")
    parser.add_argument("--key", required=True)
    parser.add_argument("--body", type=Path, required=True, help="a file with the body of every call")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0)
    return parser.parse_args()


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(read_options()))) + b"\n")
