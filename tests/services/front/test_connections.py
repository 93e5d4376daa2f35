"""How many clients may be connected, and what the system allows."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from services.front.descriptors import exhausted, most_connections, raise_limit
from services.front.limits import Limits
from tests.services.front.serving import Serving, echo, is_refusal, serving
from tests.support.client import Client, connected

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def clients(it: Serving, number: int) -> AsyncIterator[list[Client]]:
    """So many that were each served once."""
    async with contextlib.AsyncExitStack() as stack:
        made = [await stack.enter_async_context(connected(it.port)) for _ in range(number)]
        for client in made:
            assert 200 == (await client.ask("GET", "/")).status
        yield made


async def test_a_client_too_many_is_turned_away_and_the_others_are_served() -> None:
    async with serving(echo, Limits(connections=3)) as it, clients(it, 3) as served:
        async with connected(it.port) as client:
            answer = await client.response()
            assert is_refusal(answer, 503, "overloaded")
            assert "1" == answer.headers["retry-after"]
            assert b"" == await client.rest()

        for one in served:
            assert 200 == (await one.ask("GET", "/")).status


async def test_there_is_room_again_when_a_client_left() -> None:
    async with serving(echo, Limits(connections=2)) as it:
        for _ in range(3):
            async with clients(it, 2):
                pass
            await it.all_left()


async def test_of_very_many_clients_too_many_the_rest_is_cut() -> None:
    async with serving(echo, Limits(connections=1)) as it, contextlib.AsyncExitStack() as stack:
        for _ in range(300):
            await stack.enter_async_context(connected(it.port))
        async with connected(it.port) as client:
            with contextlib.suppress(ConnectionResetError):
                assert b"" == await client.rest()


async def test_that_clients_are_turned_away_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 1000.0
    with caplog.at_level(logging.WARNING, "penstock.front"):
        async with serving(echo, Limits(connections=1)) as it, clients(it, 1):
            it.front.now = lambda: now
            for _ in range(5):
                async with connected(it.port) as client:
                    await client.response()
            assert 1 == len(caplog.records)
            now += 60
            async with connected(it.port) as client:
                await client.response()

    assert 2 == len(caplog.records)
    assert "More than 1 clients" in caplog.text


@contextlib.contextmanager
def lowered(soft: int) -> Iterator[int]:
    """A lower limit on open files for a while; it yields the one it may be raised to."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def limit() -> int:
    soft: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft


def test_the_limit_on_open_files_is_raised_as_far_as_it_may_be() -> None:
    with lowered(256) as hard:
        assert hard == raise_limit() == limit()


async def test_a_front_that_listens_raises_the_limit() -> None:
    with lowered(256) as hard:
        async with serving(echo):
            assert hard == limit()


def test_fewer_connections_are_held_where_fewer_files_may_be_open() -> None:
    allowed = raise_limit()

    assert 10 == most_connections(10)
    assert allowed is None or most_connections(10**9) < allowed // 2


def test_it_is_noticed_that_no_descriptor_is_free() -> None:
    assert not exhausted()
    with lowered(3):
        assert exhausted()


async def test_a_front_says_where_no_descriptor_is_free(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "penstock.front"):
        async with serving(echo), asyncio.timeout(10):
            with lowered(3):
                while not caplog.records:
                    await asyncio.sleep(0.01)

    assert "No file descriptor is free" in caplog.text
