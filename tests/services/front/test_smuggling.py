"""One request is one request: no body and nothing behind a mistake is ever answered as another."""

import asyncio
import contextlib
import re
import tracemalloc

import pytest

from services.front.call import Call, Reply
from services.front.limits import Limits
from services.wire.fields import JSON
from tests.services.front.serving import echo, serving
from tests.services.front.smuggling import CHUNKED, GET, POST, REFUSED, TAKEN, UPGRADE
from tests.support.client import connected
from tests.support.wire import request

pytestmark = pytest.mark.anyio

HIDDEN = request("GET", "/hidden")


class Noting:
    """Answers at once, and knows what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __call__(self, call: Call, reply: Reply) -> None:
        self.calls.append(call)
        reply.send(200, JSON, b"{}")

    def taken(self) -> list[bytes]:
        """The targets asked for since last time."""
        calls, self.calls = self.calls, []
        return [call.target for call in calls]


async def told(port: int, *pieces: bytes) -> bytes:
    """All that comes until the connection ends, also where it is cut behind the answer."""
    got = b""
    async with connected(port) as client, asyncio.timeout(10):
        with contextlib.suppress(ConnectionResetError):
            await client.send(*pieces)
            while piece := await client.reader.read(65_536):
                got += piece
    return got


def statuses(got: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]


@pytest.mark.parametrize("kind", REFUSED)
async def test_what_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_answered(kind: str) -> None:
    noting, wrong = Noting(), {}
    async with serving(noting) as it:
        for name, (status, said) in REFUSED[kind].items():
            got = await told(it.port, said + HIDDEN)
            if ([status], []) != (statuses(got), noting.taken()) or b"connection: close\r\n" not in got:
                wrong[name] = got

        assert {} == wrong
        assert 0 == it.budget.used


@pytest.mark.parametrize("kind", REFUSED)
async def test_it_is_refused_byte_by_byte_too(kind: str) -> None:
    noting, wrong = Noting(), {}
    async with serving(noting) as it:
        for name, (status, said) in short(kind).items():
            whole = said + HIDDEN
            got = await told(it.port, *(whole[at : at + 1] for at in range(len(whole))))
            if ([status], []) != (statuses(got), noting.taken()):
                wrong[name] = got

    assert {} == wrong


@pytest.mark.parametrize("kind", REFUSED)
async def test_behind_another_request_it_is_refused_too(kind: str) -> None:
    noting, wrong = Noting(), {}
    async with serving(noting) as it:
        for name, (status, said) in short(kind).items():
            got = await told(it.port, request("GET", "/before") + said + HIDDEN)
            if ([200, status], [b"/before"]) != (statuses(got), noting.taken()):
                wrong[name] = got

    assert {} == wrong


def short(kind: str) -> dict[str, tuple[int, bytes]]:
    return {name: (status, said) for name, (status, said) in REFUSED[kind].items() if len(said) < 500}


@pytest.mark.parametrize("said", TAKEN.values(), ids=TAKEN)
async def test_what_all_read_in_one_way_is_taken_and_what_is_behind_is_the_next(said: bytes) -> None:
    noting = Noting()
    async with serving(noting) as it, connected(it.port) as client:
        await client.send(said + HIDDEN)
        answers = [await client.response(), await client.response()]

    assert [200, 200] == [answer.status for answer in answers]
    assert {b"abc", b""} >= {call.body for call in noting.calls}
    assert [b"/x", b"/hidden"] == noting.taken()


async def test_a_body_that_never_ends_is_no_request() -> None:
    noting = Noting()
    async with serving(noting) as it, connected(it.port) as client:
        await client.send(CHUNKED, b"3\r\nabc\r\n0\r\n")
        client.half_close()

        assert b"" == await client.rest()
        assert [] == noting.calls


async def test_a_trailer_is_no_header() -> None:
    # Whoever guards this door has looked at the head alone.
    noting = Noting()
    trailer = b"authorization: Bearer stolen\r\nhost: elsewhere\r\nx-penstock-lane: batch\r\n\r\n"
    async with serving(noting) as it, connected(it.port) as client:
        await client.send(CHUNKED, b"3\r\nabc\r\n0\r\n" + trailer + HIDDEN)
        await client.response()
        await client.response()

    assert {b"host": b"test", b"transfer-encoding": b"chunked"} == noting.calls[0].headers
    assert [b"abc", b""] == [call.body for call in noting.calls]


async def test_a_client_of_http_1_0_is_not_told_to_continue() -> None:
    asked = b"POST /x HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc"
    async with serving(echo) as it, connected(it.port) as client:
        await client.send(asked)

        assert b"POST /x abc" == (await client.response()).body


async def test_very_many_upgrades_at_once_are_all_passed_over() -> None:
    many = 2_000  # more than Python may be deep
    async with serving(echo) as it, connected(it.port) as client:
        await client.send((GET + UPGRADE + b"\r\n") * many)
        for _ in range(many):
            assert b"GET /x " == (await client.response()).body


async def test_a_body_in_very_small_chunks_takes_no_more_memory_than_its_size() -> None:
    many = 30_000
    async with serving(echo, budget=4 * many) as it, connected(it.port) as client:
        tracemalloc.start()
        try:
            await client.send(CHUNKED, b"2\r\nxx\r\n" * many)
            async with asyncio.timeout(10):
                while it.budget.used < 2 * many:
                    await asyncio.sleep(0.001)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await client.send(b"0\r\n\r\n")

        assert b"POST /x " + b"xx" * many == (await client.response()).body
    assert held < 10 * many  # a list of them would take 56 bytes for each


async def test_a_body_in_many_pieces_may_be_as_large_as_any() -> None:
    size = 300_000
    async with serving(echo, Limits(body=size), budget=2 * size) as it, connected(it.port) as client:
        await client.send(POST + b"content-length: %d\r\n\r\n" % size, *[b"x" * 1_000] * 300)

        assert size == len((await client.response()).body) - len(b"POST /x ")
