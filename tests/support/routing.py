"""The hot path of a router on memory adapters, so that a test decides when a record is durable."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from events.bus import Message
from events.config import Backend, Config, Model
from events.usage import UsageRecord, UsageRecorded
from events.words import Unavailable
from services.front.front import Front
from services.front.limits import Budget, Limits
from services.pool.pool import Pool
from services.router.chat import Chat
from services.router.credentials import mint
from services.router.exchanges import Exchanges
from services.router.gate import Gate
from services.router.metrics import Metrics
from services.router.order import Deadlines
from services.usage.recorder import Lingers, UsageRecorder
from services.wire.errors import render_refusal
from tests.support import client
from tests.support.client import PATIENCE_S
from tests.support.clock import now
from tests.support.keys import StoredKeys
from tests.support.platform import CHAT
from tests.support.wire import MODEL, request


@dataclass(slots=True)
class Tap:
    """A `Publisher`: pages run through it, are held back while it is closed, and fail while it is broken."""

    pages: list[UsageRecorded] = field(default_factory=list)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """A hot path that serves."""

    port: int
    key: str
    keys: StoredKeys
    tap: Tap
    exchanges: Exchanges
    recorder: UsageRecorder
    budget: Budget

    def request(self, body: bytes) -> bytes:
        """A chat completion's request."""
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        return request("POST", CHAT, body, headers)

    async def call(self, body: bytes) -> client.Response:
        """One chat completion."""
        async with client.connected(self.port) as connection:
            await connection.send(self.request(body))
            return await connection.response()


@asynccontextmanager
async def routed(
    *engines: str,
    deadlines: Deadlines | None = None,
    limits: Limits | None = None,
    budget: int = 2**20,
) -> AsyncIterator[Routed]:
    """A router for the model of some engines, with one key."""
    tap, key, keys, held = Tap(), mint(), StoredKeys(), Budget(budget)
    await keys.makes(key)
    config = Config(backends={"pool": Backend(replicas=engines)}, models={MODEL: Model(backend="pool")})
    pool = Pool(config)
    lingers = Lingers(started_s=0.001, other_s=0.001)
    recorder = UsageRecorder(tap, producer="p", source="/router", lingers=lingers, now=now)
    exchanges = Exchanges(recorder, Metrics({}), deadlines or Deadlines(), now=now, budget=held)
    exchanges.start()
    chat = Chat(Gate(keys.ring(), now), lambda: config, lambda: pool, exchanges)
    front = Front(chat, render_refusal=render_refusal, limits=limits, budget=held)
    port = await front.listen("127.0.0.1", 0)
    try:
        yield Routed(
            port=port, key=key, keys=keys, tap=tap, exchanges=exchanges, recorder=recorder, budget=held
        )
    finally:
        tap.broken = False
        tap.open()
        keys.door.set()
        await exchanges.drain(0)
        await front.close(0)
        await recorder.close()
        pool.close()
