"""A client that caught up: told in the loop's next turn, and only if it still matters then."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from services.front.connection import Connection
from services.front.front import Front
from services.front.limits import Budget
from services.wire.errors import render_refusal
from services.wire.fields import JSON
from tests.services.front.serving import PLENTY, Held
from tests.support.wire import request

pytestmark = pytest.mark.anyio


class Wire(asyncio.Transport):
    """A transport that closes and ends when it is told to, and drops what is written."""

    closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


@dataclass(slots=True)
class Slow:
    """A reply under way to a client that read too slowly and has just caught up."""

    connection: Connection
    wire: Wire
    held: Held


def caught_up(asked: bytes) -> Slow:
    held, wire = Held(), Wire()
    front = Front(held, render_refusal=render_refusal, budget=Budget(PLENTY))
    connection = Connection(front)
    connection.connection_made(wire)
    connection.data_received(asked)
    connection.start(200, JSON)
    connection.pause_writing()
    connection.resume_writing()
    return Slow(connection, wire, held)


async def next_turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_it_is_told_once_and_in_the_next_turn() -> None:
    slow = caught_up(request("GET", "/"))
    assert ["paused"] == slow.held.heard
    await next_turn()

    assert ["paused", "resumed"] == slow.held.heard


def is_lost(slow: Slow) -> None:
    slow.wire.close()
    slow.connection.connection_lost(None)


def is_cut(slow: Slow) -> None:
    slow.connection.cut()


def has_left(slow: Slow) -> None:
    slow.wire.close()  # asyncio does so where a client closed its side


def is_answered(slow: Slow) -> None:
    slow.connection.finish()


@pytest.mark.parametrize("happens", [is_lost, is_cut, has_left, is_answered])
async def test_it_is_not_told_where_it_no_longer_matters(happens: Callable[[Slow], None]) -> None:
    slow = caught_up(request("GET", "/"))
    happens(slow)
    await next_turn()

    assert "resumed" not in slow.held.heard


async def test_it_is_not_told_of_a_client_that_fell_behind_again() -> None:
    slow = caught_up(request("GET", "/"))
    slow.connection.pause_writing()
    await next_turn()
    assert ["paused"] == slow.held.heard
    slow.connection.resume_writing()
    await next_turn()

    assert ["paused", "resumed"] == slow.held.heard


async def test_a_request_in_line_begins_and_hears_nothing_of_what_was_before() -> None:
    slow = caught_up(request("GET", "/") * 2)
    slow.connection.finish()
    assert 1 == len(slow.held.calls)
    await next_turn()

    assert (2, ["paused"]) == (len(slow.held.calls), slow.held.heard)


async def test_a_request_in_line_is_not_begun_on_a_connection_that_closes() -> None:
    slow = caught_up(request("GET", "/") * 2)
    slow.connection.finish()
    slow.wire.close()
    await next_turn()

    assert 1 == len(slow.held.calls)
