"""Dispatchers on memory adapters: a queue, an engine that does as it is told, and time that runs fast."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from events.bus import Message
from events.catalog import KNOWN
from events.config import Backend, Config, Model
from events.envelope import Event, decode, wrap
from events.jobs import JobDue
from events.requests import FINAL, LARGEST_BODY, RequestDocument, State, Versioned
from events.usage import Completed, UsageRecord, UsageRecorded
from events.words import ApiKey, Invalid, Lane, Unavailable
from functions.request.intake import Terms
from functions.request.submission import Options
from services.adapters.local.master_key import FileMasterKey
from services.adapters.memory.bodies import MemoryBodies
from services.adapters.memory.data_keys import MemoryDataKeys
from services.adapters.memory.journal import MemoryJournal
from services.adapters.memory.requests import MemoryRequests
from services.dispatcher.dispatcher import Dispatcher
from services.dispatcher.ports import Pace, Ports
from services.guarding.guard import Guard
from services.pool.pool import Pool
from services.requests.waiters import Waiters
from services.router.metrics import Metrics
from services.router.queue import RequestQueue
from services.sealing.sealer import Sealer
from services.usage.recorder import Lingers, UsageRecorder
from tests.support.client import PATIENCE_S
from tests.support.clock import now
from tests.support.wire import MODEL, chat

FAST = Pace(
    slots=4,
    lease_s=30,
    heartbeat_s=10,
    look_every_s=0.02,
    cancel_check_s=0.01,
    skew_s=0,
    total_s=30,
    connect_s=5,
    failures=3,
    retry_first_s=0.01,
    retry_last_s=0.05,
    owed_after_s=0,
    stale_after_s=60,
)


class Requests(MemoryRequests):
    """A queue in memory that may be away, and slow to say that it wrote. It counts what it is asked.

    `breaks`: what its next looks for tenants raise, one each. `unheard`: writes take place, but who wrote
    hears that the queue is away. `stuck`: calls about these requests wait for the event.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(now)
        self.away = False
        self.unheard = False
        self.slow_s = 0.0
        self.breaks: list[Exception] = []
        self.stuck: dict[str, asyncio.Event] = {}
        self.asked: Counter[str] = Counter()

    async def get(self, request_id: str) -> Versioned | None:
        await self._is_asked("get", request_id)
        return await super().get(request_id)

    async def replace(self, document: RequestDocument, version: int) -> int:
        await self._is_asked("replace", document.id)
        written = await super().replace(document, version)
        await asyncio.sleep(self.slow_s)
        if self.unheard:
            raise Unavailable("The queue says nothing.")
        return written

    async def waiting_tenants(self, now: datetime) -> list[tuple[str, Lane]]:
        await self._is_asked("waiting_tenants")
        if self.breaks:
            raise self.breaks.pop(0)
        return await super().waiting_tenants(now)

    async def waiting(self, tenant: str, lane: Lane, now: datetime, limit: int) -> list[Versioned]:
        await self._is_asked("waiting")
        return await super().waiting(tenant, lane, now, limit)

    async def _is_asked(self, what: str, name: str = "") -> None:
        self.asked[what] += 1
        if self.away:
            raise Unavailable("The queue is away.")
        if name in self.stuck:
            await self.stuck[name].wait()


class Bodies(MemoryBodies):
    """Bodies that are slow to come, or away for some calls; none is kept of more than `largest` bytes."""

    slow_s = 0.0
    fails = 0
    largest = LARGEST_BODY

    async def get(self, body_id: str) -> bytes | None:
        await asyncio.sleep(self.slow_s)
        self._may_fail()
        return await super().get(body_id)

    async def put(self, body_id: str, sealed: bytes, expire_at: datetime) -> None:
        self._may_fail()
        if len(sealed) > self.largest:
            raise Invalid(f"A body of {len(sealed)} bytes is too large.")
        await super().put(body_id, sealed, expire_at)

    def _may_fail(self) -> None:
        if self.fails:
            self.fails -= 1
            raise Unavailable("The bodies are away.")


@dataclass(slots=True)
class Said:
    """A `Publisher` that keeps what was published, unless it is away."""

    messages: list[Message] = field(default_factory=list)
    away: bool = False

    async def publish(self, messages: Sequence[Message]) -> None:
        if self.away:
            raise Unavailable("The bus is away.")
        self.messages += messages

    def events(self, topic: str) -> list[Event]:
        """What was said on a topic, each event once."""
        found = {m.attributes["ce-id"]: m for m in self.messages if m.topic == topic}
        return [decode(m.attributes, m.data, KNOWN).event for m in found.values()]

    def records(self) -> list[UsageRecord]:
        """What was recorded of attempts, in its order."""
        pages = [page for page in self.events("usage-recorded-v1") if isinstance(page, UsageRecorded)]
        return [record for page in pages for record in page.records]

    def completions(self) -> list[Completed]:
        """The ends of attempts, in their order."""
        return [record for record in self.records() if isinstance(record, Completed)]


async def _stays(tenant: str) -> bool:
    return False


@dataclass(slots=True, kw_only=True)
class World:
    """What dispatchers share."""

    requests: Requests
    bodies: Bodies
    journal: MemoryJournal
    sealer: Sealer
    said: Said
    pool: Pool
    recorder: UsageRecorder
    config: Config
    pace: Pace
    waiters: Waiters = field(default_factory=Waiters)
    metrics: Metrics = field(default_factory=lambda: Metrics({}))
    may_leave: Callable[[str], Awaitable[bool]] = _stays
    guard: Guard | None = None
    dispatchers: list[Dispatcher] = field(default_factory=list)

    def ports(self, owner: str = "d1") -> Ports:
        return Ports(
            requests=self.requests,
            bodies=self.bodies,
            journal=self.journal,
            sealer=self.sealer,
            publisher=self.said,
            recorder=self.recorder,
            pool=lambda: self.pool,
            config=lambda: self.config,
            now=now,
            owner=owner,
            pace=self.pace,
            waiters=self.waiters,
            metrics=self.metrics,
            may_leave=self.may_leave,
            guard=self.guard,
        )

    def queue(self) -> RequestQueue:
        return RequestQueue(
            self.requests,
            self.bodies,
            self.sealer,
            self.said,
            config=lambda: self.config,
            terms=Terms(),
            now=now,
            waiters=self.waiters,
        )

    async def submit(
        self, text: str = "Hi.", *, tenant: str = "acme", lane: Lane = "interactive", deadline_s: float = 60
    ) -> str:
        """Queues a request; its id."""
        key = ApiKey(hash="h", id="key_1", tenant=tenant, name="", created_at=now())
        options = Options(lane=lane, deadline=deadline_s)
        taken = await self.queue().submit(key, chat(text), options, "")
        assert isinstance(taken, RequestDocument)
        return taken.id

    async def dispatch(self, owner: str = "d1", *, alone: bool = False) -> Dispatcher:
        """Starts a dispatcher."""
        dispatcher = Dispatcher(self.ports(owner), Random(owner))
        await dispatcher.start(alone=alone)
        self.dispatchers.append(dispatcher)
        return dispatcher

    async def sweep(self, dispatcher: Dispatcher) -> None:
        """The job is due."""
        await dispatcher.handle(
            wrap(JobDue(job="sweep-requests", slot=now()), id="1", source="/test", time=now())
        )

    async def stored(self, name: str) -> Versioned:
        found = await MemoryRequests.get(self.requests, name)  # whatever the queue is told to do
        assert found is not None
        return found

    async def document(self, name: str) -> RequestDocument:
        return (await self.stored(name)).document

    async def reaches(self, name: str, *states: State) -> RequestDocument:
        """Waits until a request is in one of these states."""
        async with asyncio.timeout(PATIENCE_S):
            while (document := await self.document(name)).state not in states:
                await asyncio.sleep(0.002)
        return document

    async def ends(self, name: str) -> RequestDocument:
        """Waits until a request ended and has told so."""
        await self.reaches(name, *FINAL)
        async with asyncio.timeout(PATIENCE_S):
            while (document := await self.document(name)).owed:
                await asyncio.sleep(0.002)
        return document

    async def change(self, name: str, **fields: Any) -> None:
        """Somebody else writes the document."""
        stored = await self.stored(name)
        await self.requests.replace(msgspec.structs.replace(stored.document, **fields), stored.version)

    async def answer(self, name: str) -> Any:
        """What its caller reads."""
        return json.loads(await self.queue().resource(await self.document(name)))

    async def completions(self, count: int) -> list[Completed]:
        """Waits until so many attempts ended."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.said.completions()) < count:
                await asyncio.sleep(0.002)
        return self.said.completions()


@asynccontextmanager
async def world(folder: Path, engine: str, **pace: Any) -> AsyncIterator[World]:
    """A queue and a pool of one engine; dispatchers are started by the test."""
    said = Said()
    config = Config(backends={"pool": Backend(replicas=(engine,))}, models={MODEL: Model(backend="pool")})
    lingers = Lingers(started_s=0.001, other_s=0.001)
    made = World(
        requests=Requests(now),
        bodies=Bodies(now),
        journal=MemoryJournal(now),
        sealer=Sealer(FileMasterKey(folder / "master-key"), MemoryDataKeys()),
        said=said,
        pool=Pool(config),
        recorder=UsageRecorder(said, producer="p", source="/dispatcher", lingers=lingers, now=now),
        config=config,
        pace=replace(FAST, **pace),
    )
    try:
        yield made
    finally:
        said.away = made.requests.away = made.requests.unheard = False
        for stuck in made.requests.stuck.values():
            stuck.set()
        for dispatcher in made.dispatchers:
            await dispatcher.stop(0)
        await made.recorder.close()
        made.pool.close()


def long_ago() -> datetime:
    return now() - timedelta(minutes=5)
