"""What a front makes of bytes, without a socket: the calls it passes on, and what it refuses."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple, cast

import h11

from services.front.call import Call, Reply
from services.front.connection import Connection
from services.front.front import Front
from services.front.limits import Budget, Limits
from services.wire.errors import render_refusal

FRAMING = (b"content-length", b"transfer-encoding", b"upgrade")  # told by the body, or passed over
STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) .*\r\n", re.MULTILINE)
PLENTY = 2**20


class Asked(NamedTuple):
    """A call as its endpoint sees it."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes


class Read(NamedTuple):
    """What became of a stream of bytes."""

    asked: list[Asked]
    statuses: list[int]
    closed: bool
    held: int


class Wire(asyncio.Transport):
    """Takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def write_eof(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


async def read(pieces: Iterable[bytes], limits: Limits | None = None) -> Read:
    """Reads a stream that comes in pieces; every call is answered at once."""
    asked: list[Asked] = []

    def endpoint(call: Call, reply: Reply) -> None:
        asked.append(Asked(call.method, call.target, call.headers, call.body))
        reply.send(200, b"", b"")

    budget = Budget(PLENTY)
    front = Front(endpoint, render_refusal=render_refusal, limits=limits, budget=budget)
    connection, wire = Connection(front), Wire()
    connection.connection_made(wire)
    for piece in pieces:
        connection.data_received(piece)
        await asyncio.sleep(0)  # what is written goes out at the end of the loop's turn
    statuses = [int(status) for status in STATUS.findall(wire.written)]
    closed = wire.closed
    connection.connection_lost(None)
    assert 0 == budget.used, "memory is not given back"
    return Read(asked, statuses, closed, budget.used)


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """A stream in pieces."""
    at = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in pairwise(at) if a < b]


def by_another(stream: bytes) -> Iterator[Asked]:
    """The whole requests h11 reads, as long as it reads any."""
    other = h11.Connection(h11.SERVER, max_incomplete_event_size=PLENTY)
    try:
        other.receive_data(stream)
        while isinstance(head := other.next_event(), h11.Request):
            body = b""
            while isinstance(event := other.next_event(), h11.Data):
                body += event.data
            if not isinstance(event, h11.EndOfMessage):
                return
            yield Asked(head.method, head.target, _joined(head), body)
            other.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            other.send(h11.EndOfMessage())
            other.start_next_cycle()
    except h11.ProtocolError:  # it refuses, or ends the connection
        return


def _joined(head: h11.Request) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in cast(list[tuple[bytes, bytes]], list(head.headers)):
        found[name] = b"%b, %b" % (found[name], value) if name in found else value
    return found


def plain(asked: Asked) -> Asked:
    """A call without what two readers may write differently."""
    kept = {name: value.strip(b" \t") for name, value in asked.headers.items() if name not in FRAMING}
    return asked._replace(headers=kept)
