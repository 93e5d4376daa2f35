"""Traffic of all kinds: whole, streamed, left, refused, queued and answered from the cache."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

from tests.attack.site import CHAT, Site, chat
from tests.support.client import Client, connected
from tests.support.wire import request

CLIENTS = 8


async def whole(site: Site, client: Client, number: int) -> None:
    await client.send(site.asked(chat(f"Hi, {number}.", max_tokens=5)))
    assert 200 == (await client.response()).status


async def streamed(site: Site, client: Client, number: int) -> None:
    await client.send(site.asked(chat(f"Hi, {number}.", max_tokens=5, stream=True)))
    assert 200 == (await client.response()).status


async def cached(site: Site, client: Client, number: int) -> None:
    await client.send(site.asked(chat("Again.", max_tokens=5, temperature=0)))
    assert 200 == (await client.response()).status


async def refused(site: Site, client: Client, number: int) -> None:
    await client.send(site.asked(b'{"model": "none", "messages": [1]}'))
    assert 400 == (await client.response()).status


async def queued(site: Site, client: Client, number: int) -> None:
    await client.send(
        request("POST", "/v1/requests", chat(f"Later, {number}.", max_tokens=5), site.headers())
    )
    assert 202 == (await client.response()).status


async def left(site: Site, client: Client, number: int) -> None:
    async with connected(site.port) as other:
        await other.send(site.asked(chat(f"Hi, {number}.", max_tokens=500, ignore_eos=True, stream=True)))
        other.reset()


async def malformed(site: Site, client: Client, number: int) -> None:
    async with connected(site.port) as other:
        await other.send(
            b"POST " + CHAT.encode() + b" HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
        )
        assert 400 == (await other.response()).status


KINDS: tuple[Callable[[Site, Client, int], Awaitable[None]], ...] = (
    *(whole, streamed, cached) * 4, refused, left, malformed, *(whole, streamed, cached, refused) * 2, queued,
)  # fmt: skip


async def traffic(site: Site, requests: int, numbers: "count[int]") -> None:
    """So many requests of all kinds, over a few connections."""
    end = next(numbers) + requests

    async def caller() -> None:
        async with connected(site.port) as client:
            while (number := next(numbers)) < end:
                await KINDS[number % len(KINDS)](site, client, number)

    await asyncio.gather(*(caller() for _ in range(CLIENTS)))
