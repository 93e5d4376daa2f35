"""Processes that stop at a port call, and the world of stores they leave behind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from events.catalog import EVENTS, Subscription, answers_topic
from events.config import Config
from events.envelope import Envelope, Event
from events.requests import Owed, RequestDocument
from events.usage import UsageRecorded
from functions.autoscale.standing import Standing as Advised
from functions.caching.entry import Entry
from functions.metering.bill import UsageSum
from functions.metering.settlement import Standing
from services.adapters.local.master_key import FileMasterKey
from services.adapters.memory.advice import MemoryAdvice
from services.adapters.memory.bodies import MemoryBodies
from services.adapters.memory.bus import MemoryBus
from services.adapters.memory.cache import MemoryCache
from services.adapters.memory.data_keys import MemoryDataKeys
from services.adapters.memory.keys import MemoryKeys
from services.adapters.memory.ledger import MemoryUsageLedger
from services.adapters.memory.requests import MemoryRequests
from services.pool.pool import Pool
from services.requests.outbox import follows
from services.sealing.sealer import Sealer
from tests.contracts.adapters import Clock

T = TypeVar("T")

TENANT = "acme"
TOPICS = (*(row.topic for row in EVENTS), answers_topic(TENANT))
LISTENERS = tuple(Subscription(topic=topic, consumer="test") for topic in TOPICS)
PLENTY = 1_000


class Stop(BaseException):
    """The process is no more; nothing in it can catch that."""


class Life:
    """The port calls of one process, counted from 1, of which the `last` never returns.

    It has no effect or, if it is `late`, has its effect and nobody hears of it. No call comes after it.
    """

    def __init__(self, last: int = 0, *, late: bool = False) -> None:
        self._last = last
        self._late = late
        self._calls: list[str] = []

    @property
    def over(self) -> bool:
        return bool(self._last) and len(self._calls) >= self._last

    @property
    def last_call(self) -> str:
        return self._calls[self._last - 1]

    def around(self, port: T) -> T:
        """A port whose calls count."""
        return cast(T, _Counted(port, self))

    async def call(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """Makes a call, and returns what it returns if it does."""
        if self.over:
            return await self.after(work)
        self._calls.append(name)
        if self.over and not self._late:
            await self.end()
        result = await work()
        if self.over:
            await self.end()
        return result

    async def end(self) -> None:
        """What becomes of the last call."""
        raise Stop

    async def after(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """What becomes of a call after the last one."""
        raise Stop


class LongLife(Life):
    """The same of a process that lives on to be asked to stop: only its last call hangs."""

    async def end(self) -> None:
        """It waits until it is cancelled."""
        await asyncio.Event().wait()

    async def after(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """It is made as usual."""
        return await work()


class _Counted:
    def __init__(self, port: object, life: Life) -> None:
        self._port = port
        self._life = life

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._port, name)

        def counted(*given: Any, **named: Any) -> Awaitable[Any]:
            return self._life.call(f"{type(self._port).__name__}.{name}", partial(method, *given, **named))

        return counted


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that can be seen of a world. `told`: topic and id of every event that was published."""

    documents: Sequence[RequestDocument]
    bodies: Mapping[str, bytes | None]
    pages: Mapping[str, UsageRecorded]
    sums: Sequence[UsageSum]
    standings: Sequence[tuple[Standing, int]]
    advised: Sequence[Advised]
    cached: Sequence[tuple[str, str, bytes]]  # their keys differ from world to world, as its data keys do
    told: frozenset[tuple[str, str]]

    @property
    def attempts(self) -> int:
        return sum(document.attempts for document in self.documents)


@dataclass(slots=True, kw_only=True)
class World:
    """What outlives a process. `names` are the requests in it, which were tried `lost` times in vain."""

    clock: Clock
    config: Config
    bus: MemoryBus
    requests: MemoryRequests
    bodies: MemoryBodies
    keys: MemoryKeys
    ledger: MemoryUsageLedger
    advice: MemoryAdvice
    cache: MemoryCache
    sealer: Sealer
    pool: Pool
    lost: int = 0
    names: list[str] = field(default_factory=list)

    async def documents(self) -> list[RequestDocument]:
        found = [await self.requests.get(name) for name in self.names]
        return [stored.document for stored in found if stored is not None]

    async def state(self) -> State:
        documents = await self.documents()
        return State(
            documents=documents,
            bodies={name: body for document in documents for name, body in await self._opened(document)},
            pages={stored.id: stored.page for stored in await self.ledger.pages(limit=PLENTY)},
            sums=await self.ledger.usage(),
            standings=[await self.ledger.standing(name) for name in await self.ledger.producers()],
            advised=list(await self.advice.standings()),
            cached=[(entry.tenant, entry.model, await self._answer(entry)) for entry in self.cache.entries()],
            told=frozenset([told async for told in self._told()]),
        )

    async def _opened(self, document: RequestDocument) -> list[tuple[str, bytes | None]]:
        answer = document.answer
        kinds = {"prompt": document.body_id, "answer": answer.body_id if answer else ""}
        return [(name, await self._open(document, kind, name)) for kind, name in kinds.items() if name]

    async def _open(self, document: RequestDocument, kind: str, name: str) -> bytes | None:
        sealed = await self.bodies.get(name)
        return None if sealed is None else await self.sealer.open(document.tenant, kind, name, sealed)

    async def _answer(self, entry: Entry) -> bytes:
        return await self.sealer.open(entry.tenant, "cache", entry.id, entry.sealed)

    async def _told(self) -> AsyncIterator[tuple[str, str]]:
        backlog = await self.bus.backlog()
        for listener in LISTENERS:
            if backlog[listener.name]:
                for message in await self.bus.receive(listener.name, PLENTY):
                    yield message.topic, message.attributes["ce-id"]


async def empty_world(config: Config, pool: Pool, folder: Path) -> World:
    """Nothing was ever stored in it, and its clock stands still."""
    clock = Clock()
    made = World(
        clock=clock,
        config=config,
        bus=MemoryBus(clock),
        requests=MemoryRequests(clock),
        bodies=MemoryBodies(clock),
        keys=MemoryKeys(),
        ledger=MemoryUsageLedger(clock),
        advice=MemoryAdvice(),
        cache=MemoryCache(clock),
        sealer=Sealer(FileMasterKey(folder / "master-key"), MemoryDataKeys()),
        pool=pool,
    )
    await made.bus.ensure(LISTENERS)
    return made


Process = Callable[[World, Life], Awaitable[None]]
Handle = Callable[[Envelope], Awaitable[Sequence[Event | Owed]]]


def consuming(
    arrives: Callable[[World], Awaitable[Envelope]], function: Callable[[World, Life], Handle]
) -> Process:
    """A process that handles one event and publishes what follows, as a consumer does."""

    async def process(world: World, life: Life) -> None:
        envelope = await arrives(world)
        events = await function(world, life)(envelope)
        messages = [
            follows(envelope, event, index=index, source="/test") for index, event in enumerate(events)
        ]
        if messages:
            await life.around(world.bus).publish(messages)

    return process


async def nothing(world: World, life: Life | None = None) -> None:
    """Neither before nor after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What may stop at any step: the world before, one process's work, and what comes later anyway."""

    name: str
    given: Callable[[World], Awaitable[None]] = nothing
    process: Process
    later: Process = nothing
