"""The hot path of a router on memory adapters, so that a test decides when a record is durable."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from events.bus import Message, topic_by_type
from events.cache import CacheOffered
from events.config import Backend, Config, Model
from events.envelope import type_of
from events.usage import UsageRecord, UsageRecorded
from events.words import Unavailable
from services.front.limits import Budget, Limits
from services.guarding.guard import Guard
from services.pool.outside import Outside
from services.pool.pool import Pool
from services.router.cache import AnswerCache
from services.router.chat import Chat, Ports
from services.router.cold.door import ColdDoor
from services.router.cold.room import ColdRoom
from services.router.credentials import mint
from services.router.exchanges import Exchanges
from services.router.gate import Gate
from services.router.idempotency.runs import Runs
from services.router.metrics import Metrics
from services.router.order import Deadlines
from services.router.retries import Retries
from services.router.router import Router
from services.router.routes import Routes
from services.router.screen import Screen
from services.router.watch import Watch
from services.runtime.listening import Listening
from services.usage.recorder import Lingers, UsageRecorder
from services.wire.errors import render_refusal
from tests.support import client
from tests.support.caching import StoredCache
from tests.support.client import PATIENCE_S
from tests.support.clock import now
from tests.support.fronts import make_front
from tests.support.keyed import StoredRuns
from tests.support.keys import StoredKeys
from tests.support.platform import CHAT
from tests.support.wire import MODEL, request

ONCE = Retries(attempts=1)
OFFERED = topic_by_type(type_of(CacheOffered))


@dataclass(slots=True)
class Tap:
    """A `Publisher`: pages run through it, are held back while it is closed, and fail while it is broken.
    What is offered to the cache is kept apart.
    """

    pages: list[UsageRecorded] = field(default_factory=list)
    offered: list[CacheOffered] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    tried: int = 0
    broken: bool = False
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def publish(self, messages: Sequence[Message]) -> None:
        self.tried += 1
        await self._open.wait()
        if self.broken:
            raise Unavailable("The bus is away.")
        for message in messages:
            if message.topic == OFFERED:
                self.offered.append(msgspec.json.decode(message.data, type=CacheOffered))
                continue
            self.ids.append(message.attributes["ce-id"])
            self.pages.append(msgspec.json.decode(message.data, type=UsageRecorded))

    @property
    def records(self) -> list[UsageRecord]:
        """All that came through, in its order."""
        return [record for page in self.pages for record in page.records]

    async def has(self, count: int) -> list[UsageRecord]:
        """Waits until so many records came through."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.records) < count:
                await asyncio.sleep(0.001)
        return self.records


@dataclass(slots=True)
class Served:
    """What is served now; a test may have another configuration come."""

    config: Config
    pool: Pool

    def waits(self) -> Mapping[str, float]:
        """Of the pool there is now."""
        return self.pool.waits()

    def ports(self, keys: StoredKeys, exchanges: Exchanges, room: ColdRoom, **more: Any) -> Ports:
        """Of its endpoints."""
        return Ports(
            gate=Gate(keys.ring(), now),
            config=lambda: self.config,
            pool=lambda: self.pool,
            routes=Routes(config=lambda: self.config, waits=self.waits),
            exchanges=exchanges,
            door=ColdDoor(room, lambda: self.config),
            **more,
        )

    def take(self, config: Config) -> None:
        """As a feed does with one that was published."""
        self.pool.close()
        self.config, self.pool = config, Pool(config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """A hot path that serves. `pool`: as it was at first."""

    port: int
    key: str
    keys: StoredKeys
    tap: Tap
    exchanges: Exchanges
    cache: AnswerCache | None
    runs: Runs | None
    recorder: UsageRecorder
    budget: Budget
    pool: Pool
    served: Served
    room: ColdRoom
    screen: Screen | None = None

    def request(self, body: bytes, headers: dict[str, str] | None = None) -> bytes:
        """A chat completion's request."""
        named = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        return request("POST", CHAT, body, named | (headers or {}))

    async def call(self, body: bytes, headers: dict[str, str] | None = None) -> client.Response:
        """One chat completion."""
        async with client.connected(self.port) as connection:
            await connection.send(self.request(body, headers))
            return await connection.response()


async def nothing(*_: object) -> None:
    """An application without an endpoint."""


@asynccontextmanager
async def routed(
    *engines: str,
    deadlines: Deadlines | None = None,
    retries: Retries = ONCE,
    limits: Limits | None = None,
    budget: int = 2**20,
    stored: StoredCache | None = None,
    cache_wait_s: float = PATIENCE_S,
    keyed: StoredRuns | None = None,
    config: Config | None = None,
    outside: Outside | None = None,
    watch: Watch | None = None,
    guard: Guard | None = None,
    verdict_within_s: float = PATIENCE_S,
) -> AsyncIterator[Routed]:
    """A router for the model of some engines, which take turns, with one key; with a cache if there is one
    `stored`, and runs if calls are `keyed`. `config`: instead of the engines. `watch` sees every call first.
    """
    tap, key, keys, held = Tap(), mint(), StoredKeys(), Budget(budget)
    await keys.makes(key)
    config = config or Config(
        backends={"pool": Backend(replicas=engines, affinity=0)}, models={MODEL: Model(backend="pool")}
    )
    served = Served(config, Pool(config, outside))
    lingers = Lingers(started_s=0.001, other_s=0.001)
    recorder = UsageRecorder(tap, producer="p", source="/router", lingers=lingers, now=now)
    room = ColdRoom(lambda: served.pool, lambda: served.config, held, asyncio.get_running_loop().time)
    exchanges = Exchanges(
        recorder, Metrics({}), deadlines or Deadlines(), now=now, budget=held, retries=retries, cold=room
    )
    exchanges.start()
    cache = await stored.router_cache(recorder, tap, config, held, cache_wait_s) if stored else None
    runs = keyed.router_runs(held, exchanges.metrics) if keyed else None
    screen = None if guard is None else Screen(guard, verdict_within_s)
    chat = Chat(served.ports(keys, exchanges, room, cache=cache, runs=runs, screen=screen))
    router = Router({CHAT.encode(): chat}, nothing, watch)
    front = make_front(router if watch else chat, render_refusal=render_refusal, limits=limits, budget=held)
    port = await front.listen("127.0.0.1", 0)
    made = Routed(
        port=port,
        key=key,
        keys=keys,
        tap=tap,
        exchanges=exchanges,
        cache=cache,
        runs=runs,
        recorder=recorder,
        budget=held,
        pool=served.pool,
        served=served,
        room=room,
        screen=screen,
    )
    try:
        yield made
    finally:
        await close(made, front)


async def close(made: Routed, front: Listening) -> None:
    """Ends a router with all that is under way."""
    made.tap.broken = False
    made.tap.open()
    made.keys.door.set()
    await drain(made.screen, made.exchanges, made.runs, made.cache)
    await front.close(0)
    await made.recorder.close()
    made.served.pool.close()


async def drain(
    screen: Screen | None, exchanges: Exchanges, runs: Runs | None, cache: AnswerCache | None
) -> None:
    """Ends what is under way, as a router does that stops."""
    if screen is not None:
        await screen.close(0)
    await exchanges.drain(0)
    if runs is not None:
        await runs.close()
    if cache is not None:
        await cache.close()
