"""Clients who mean harm, or do it: each kind comes as a crowd, and tells what became of it."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.attack.site import CHAT, MODEL, Site, chat
from tests.support.client import connected
from tests.support.wire import request

PATIENCE_S = 120
LARGE = (
    b'{"model":"%b","max_tokens":5,"messages":[{"role":"user","content":[{"type":"image_url",'
    % MODEL.encode()
)
LARGE += b'"image_url":{"url":"data:image/png;base64,%b"}}]}]}' % (b"A" * 10 * 2**20)


async def send_large_bodies(site: Site, clients: int) -> Counter[int]:
    """Each sends 10 MB at once."""
    asked = site.asked(LARGE)

    async def one() -> int:
        async with connected(site.port) as client, asyncio.timeout(PATIENCE_S):
            client.writer.write(asked)
            return int((await client.reader.readuntil(b"\r\n")).split()[1])

    return Counter(await asyncio.gather(*(one() for _ in range(clients))))


@asynccontextmanager
async def stalled_readers(site: Site, clients: int) -> AsyncIterator[None]:
    """Each asks for a long stream and reads nothing of it."""
    asked = site.asked(chat(max_tokens=20_000, ignore_eos=True, stream=True))
    async with AsyncExitStack() as stack:
        for _ in range(clients):
            client = await stack.enter_async_context(connected(site.port, receive_buffer=4096))
            client.writer.write(asked)
        yield


@asynccontextmanager
async def slow_heads(site: Site, clients: int) -> AsyncIterator[None]:
    """Each says a letter of its head at a time, and never ends it."""
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(connected(site.port)) for _ in range(clients)]
        task = asyncio.create_task(_drip([client.writer for client in crowd]))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _drip(writers: list[asyncio.StreamWriter]) -> None:
    for letter in b"GET / HTTP/1.1\r\nhost: test\r\nx: " + b"y" * 1000:
        for writer in writers:
            writer.write(bytes((letter,)))
        await asyncio.sleep(0.1)


async def send_large_heads(site: Site, clients: int) -> Counter[int]:
    """Each sends a megabyte of head."""

    async def one() -> int:
        async with connected(site.port) as client, asyncio.timeout(PATIENCE_S):
            client.writer.write(b"GET / HTTP/1.1\r\nhost: test\r\n" + b"x: y\r\n" * 170_000)
            return int((await client.reader.readuntil(b"\r\n")).split()[1])

    return Counter(await asyncio.gather(*(one() for _ in range(clients))))


async def pipeline(site: Site, clients: int) -> Counter[int]:
    """Each sends sixteen requests at once; how many answers each got."""
    asked = site.asked(chat(max_tokens=5)) * 15
    last = request("POST", CHAT, chat(max_tokens=5), site.headers(connection="close"))

    async def one() -> int:
        async with connected(site.port) as client, asyncio.timeout(PATIENCE_S):
            client.writer.write(asked + last)
            return (await client.reader.read(-1)).count(b"HTTP/1.1 200 ")

    return Counter(await asyncio.gather(*(one() for _ in range(clients))))


async def churn(site: Site, connections: int) -> None:
    """Connects, asks a little and leaves, again and again, some without waiting for the answer."""

    async def one(number: int) -> None:
        async with connected(site.port) as client:
            await client.send(request("GET", "/health"))
            if number % 3:
                assert 200 == (await client.response()).status

    for start in range(0, connections, 50):
        await asyncio.gather(*(one(start + number) for number in range(50)))
