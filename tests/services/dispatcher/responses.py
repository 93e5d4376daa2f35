"""Responses in the background in a world of dispatchers: begun, followed, cancelled as the router does it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from events.requests import RequestDocument
from events.words import ApiKey, Refusal
from functions.request.intake import Taken, Terms
from functions.request.submission import Options
from services.requests.waiters import Waiters
from services.responses.names import response_id
from services.router.responses.kept import KeptResponses
from services.router.responses.tail import Tail
from tests.services.dispatcher.world import World
from tests.support.client import PATIENCE_S
from tests.support.clock import now
from tests.support.wire import DONE, MODEL, delta, event, usage_event

ENDED = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
KEY = ApiKey(hash="h", id="key_1", tenant="acme", name="", created_at=now())

Told = dict[str, Any]


def said(*texts: str) -> tuple[bytes, ...]:
    """The events of a whole answer."""
    return (*map(delta, texts), ENDED, usage_event(7, len(texts)), DONE)


def kept(world: World) -> KeptResponses:
    """The responses API of a router in this world."""
    return KeptResponses(
        world.queue(),
        world.requests,
        world.bodies,
        world.journal,
        world.sealer,
        config=lambda: world.config,
        terms=Terms(),
        now=now,
    )


async def begin(world: World, *, deadline_s: float = 60, stream: bool = True, **fields: Any) -> str:
    """Queues a response; the id of its request."""
    asked = {"model": MODEL, "input": "Hi.", "background": True, "stream": stream} | fields
    options = Options(deadline=deadline_s)
    taken = kept(world).judge(json.dumps(asked).encode(), options)
    assert isinstance(taken, Taken)
    queued = await kept(world).enter(KEY, taken, "")
    assert isinstance(queued, RequestDocument)
    return queued.id


async def read(world: World, name: str) -> Told:
    """What its caller reads."""
    body = await kept(world).resource(await world.document(name))
    assert body is not None
    told: Told = json.loads(body)
    return told


class Reader:
    """Follows a response in a task of its own. `elsewhere`: in a process that hears of no ring."""

    def __init__(self, world: World, name: str, told: int = -1, *, elsewhere: bool = False) -> None:
        self.events: list[Told] = []
        self._world = world
        self._waiters = Waiters() if elsewhere else world.waiters
        self._task = asyncio.create_task(self._read(name, told))

    async def _read(self, name: str, told: int) -> None:
        async for one in events(self._world, name, told, self._waiters):
            self.events.append(one)

    async def has(self, kind: str, count: int = 1) -> None:
        """Waits until it was told so many events of a kind."""
        async with asyncio.timeout(PATIENCE_S):
            while sum(one["type"] == kind for one in self.events) < count:
                await asyncio.sleep(0.002)

    async def all(self) -> list[Told]:
        """Every event, once it is over."""
        await asyncio.wait_for(self._task, PATIENCE_S)
        return self.events

    def leave(self) -> None:
        self._task.cancel()


async def events(world: World, name: str, told: int, waiters: Waiters) -> AsyncIterator[Told]:
    document = await kept(world).find("acme", response_id(name))
    assert document is not None
    tail = Tail(kept(world), waiters, document, told)
    refusal = await tail.begin()
    assert refusal is None, refusal
    async for piece in tail.events():
        for one in piece.split(b"\n\n"):
            if one.startswith(b"event:"):
                yield json.loads(one.partition(b"data: ")[2])


async def refused(world: World, name: str, told: int) -> Refusal | None:
    """Why nothing can be told behind a number."""
    document = await kept(world).find("acme", response_id(name))
    assert document is not None
    return await Tail(kept(world), world.waiters, document, told).begin()


async def followed(world: World, name: str, told: int = -1) -> list[Told]:
    """Every event behind a number."""
    return await Reader(world, name, told).all()


def numbers(events: list[Told]) -> list[int]:
    return [one["sequence_number"] for one in events]


def text(events: list[Told]) -> str:
    return "".join(one["delta"] for one in events if one["type"] == "response.output_text.delta")
