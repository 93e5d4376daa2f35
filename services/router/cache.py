"""Answers that are given again: looked up beside admission, replayed byte for byte, offered once made."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from events.bus import Publisher, message_of
from events.cache import CacheOffered
from events.config import Config, Model
from events.envelope import type_of, wrap
from events.usage import Completed
from events.words import (
    ApiKey,
    PenstockError,
    Record,
    Tenant,
    Unavailable,
    Usage,
    attempt_id,
    hashed_id,
)
from functions.caching.directives import NOT_CACHED, Directives, directives_of
from functions.caching.entry import KIND, Answer, Entry, packed, unpacked
from functions.caching.generations import Generations, entry_id
from functions.caching.key import Body, fields_of, framing_of, key_of
from functions.caching.rule import may_ask, may_keep, ttl_of
from functions.request.admission import Admitted
from functions.request.intake import trace_of
from services.front.call import Call, Reply
from services.front.limits import Budget
from services.router.cache_memory import MemoryTier
from services.router.exchange import EVENT_STREAM
from services.router.idempotency.later import Later, bill
from services.router.metrics import Metrics
from services.router.order import REHEARSAL
from services.router.tape import Recorded, Tape
from services.usage.recorder import UsageRecorder
from services.wire.errors import NO_RETRY, error_body, error_fields
from services.wire.fields import JSON, Fields, field
from services.wire.ids import request_id

SOURCE = "/router"
POLL_S = 4.0
KNOWN_FOR_S = 10.0  # a purge is effective within this, also where it cannot be heard of
MOST_AT_ONCE = 256  # reads and offers under way: where the store or the bus hangs, they do not pile up
WISH = b"x-penstock-cache"  # "on": cache this, though it may come out otherwise each time

log = logging.getLogger("penstock.router")

# Goes on to the engine, with header lines for the client and a tape to note the answer on.
Go = Callable[[Fields, Tape | None], None]


class Store(Protocol):
    """The shared tier."""

    async def get(self, entry_id: str) -> Entry | None:
        """An entry whose time is not over."""

    async def generations(self) -> tuple[Generations, int]:
        """What was purged so far, and the version of that."""


class Tenants(Protocol):
    """Who pays, and what they turned on."""

    async def tenants(self) -> Sequence[Tenant]:
        """All of them."""


class Sealer(Protocol):
    """Seals under the tenant's key."""

    async def seal(self, tenant: str, kind: str, body_id: str, clear: bytes) -> bytes:
        """The sealed form."""

    async def open(self, tenant: str, kind: str, body_id: str, sealed: bytes) -> bytes:
        """The clear form."""

    async def secret(self, tenant: str, purpose: str) -> bytes:
        """What only the tenant's key leads to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the cache needs. `wait_s`: how long a request waits for the shared tier. `room`: bytes of answers
    in this process.
    """

    store: Store
    tenants: Tenants
    sealer: Sealer
    publisher: Publisher
    recorder: UsageRecorder
    metrics: Metrics
    budget: Budget
    config: Callable[[], Config]
    now: Callable[[], datetime]
    wait_s: float = 0.015
    room: int = 64 * 2**20
    clock: Callable[[], float] = time.monotonic


class Hit(Record):
    """An answer that was found, until when it may be given, and where it was."""

    answer: Answer
    expire_at: datetime
    tier: Literal["memory", "shared"]


@dataclass(slots=True, kw_only=True)
class Asked:
    """A request that may be answered from the cache; `key` and `entry` are known once it was looked for."""

    caller: ApiKey
    admitted: Admitted
    name: str  # the model that is asked for, whatever the caller calls it
    model: Model
    directives: Directives
    fields: Body
    traceparent: str
    generations: Generations  # as they were before the engine was asked
    began: float
    reply: Reply
    later: Later | None  # where the bill waits
    key: str = ""
    entry: str = ""


class AnswerCache:
    """`on`: tenants that turned caching on, whom to `serve`. `leaving`: whose prompts may leave the VPC."""

    def __init__(self, ports: Ports) -> None:
        self.on = self.leaving = frozenset[str]()
        self._ports = ports
        self._memory = MemoryTier(ports.room)
        self._secrets: dict[str, bytes] = {}
        self._generations: Generations | None = None
        self._read_at = 0.0
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def used(self) -> int:
        """Bytes of answers in this process."""
        return self._memory.used

    # --- what is known of tenants and purges

    async def refresh(self) -> None:
        """Learns what was purged and who turned caching on or off. Raises `Unavailable`."""
        ports, read_at = self._ports, self._ports.clock()
        generations, _ = await ports.store.generations()
        known = self._generations
        if known is None or generations.changes > known.changes:  # two refreshes may overtake each other
            tenants = await ports.tenants.tenants()
            self.on = frozenset(one.id for one in tenants if one.cache == "on")
            self.leaving = frozenset(one.id for one in tenants if one.may_leave == "on")
            self._generations = generations
            self._memory.clear()
            self._secrets.clear()
        self._read_at = read_at

    async def follow(self, every_s: float = POLL_S) -> None:
        """Refreshes for ever; while the store is away nothing is given from the cache."""
        while True:
            try:
                await self.refresh()
            except Unavailable as error:
                log.warning("what was purged from the cache cannot be read: %s", error)
            await asyncio.sleep(every_s)

    async def close(self) -> None:
        """Ends what is under way; an answer not offered yet is made again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- one request

    def serve(
        self, caller: ApiKey, admitted: Admitted, call: Call, reply: Reply, go: Go, *, kept: bool = True
    ) -> None:
        """Answers a request of a tenant that turned caching on, or goes on with it; `kept`: answers like its
        own may be given again.
        """
        directives = directives_of(call.headers.get(b"cache-control", b""))
        fields = fields_of(call.body) if kept else {}
        wished = call.headers.get(WISH, b"").strip().lower() == b"on"
        generations = self._generations if self._is_current() else None
        name = self._ports.config().resolved(admitted.model)
        if directives.no_store or generations is None or not name or not may_ask(fields, wished=wished):
            self._ports.metrics.looked("bypass")
            self._pass_on(directives, reply, go, "fwd=bypass")
            return
        asked = Asked(
            caller=caller,
            admitted=admitted,
            name=name,
            model=self._ports.config().models[name],
            directives=directives,
            fields=fields,
            traceparent=trace_of(call.headers.get(b"traceparent", b"").decode("latin-1")),
            generations=generations,
            began=self._ports.clock(),
            reply=reply,
            later=call.later,
        )
        secret = self._secrets.get(caller.tenant)
        hit = None if secret is None else self._look_here(asked, secret)
        if hit is not None or (asked.key and directives.no_cache):
            self._conclude(asked, hit, go)
        elif len(self._tasks) < MOST_AT_ONCE:
            self._spawn(self._wait(asked, go))
        else:
            self._conclude(asked, None, go, late=True)

    def _is_current(self) -> bool:
        return self._ports.clock() - self._read_at < KNOWN_FOR_S

    def _look_here(self, asked: Asked, secret: bytes) -> Hit | None:
        """Names what was asked, and looks in this process."""
        tenant, admitted = asked.caller.tenant, asked.admitted
        framing = framing_of(stream=admitted.stream, wants_usage=admitted.wants_usage)
        asked.key = key_of(secret, tenant, asked.name, asked.model, framing, asked.fields)
        asked.entry = entry_id(asked.key, tenant, asked.name, asked.generations)
        asked.fields = {}  # they hold the whole body
        if asked.directives.no_cache:
            return None
        found = self._memory.get(asked.entry, self._ports.now())
        return None if found is None else Hit(answer=found[0], expire_at=found[1], tier="memory")

    async def _wait(self, asked: Asked, go: Go) -> None:
        """Looks in the shared tier; what comes late is there for the next one who asks."""
        presence = asked.reply.listener = Presence()
        looking = self._spawn(self._look(asked))
        done, _ = await asyncio.wait((looking,), timeout=self._ports.wait_s)
        if not presence.gone:
            self._conclude(asked, looking.result() if done else None, go, late=not done)

    async def _look(self, asked: Asked) -> Hit | None:
        tenant, ports = asked.caller.tenant, self._ports
        try:
            if not asked.key:
                secret = self._secrets[tenant] = await ports.sealer.secret(tenant, KIND)
                hit = self._look_here(asked, secret)
                if hit is not None or asked.directives.no_cache:
                    return hit
            entry = await ports.store.get(asked.entry)
            if entry is None:
                return None
            answer = unpacked(await ports.sealer.open(tenant, KIND, entry.id, entry.sealed))
        except PenstockError as error:
            log.warning("the cache cannot be read: %s", error)
            return None
        self._memory.put(entry.id, answer, entry.expire_at)
        return Hit(answer=answer, expire_at=entry.expire_at, tier="shared")

    def _conclude(self, asked: Asked, hit: Hit | None, go: Go, *, late: bool = False) -> None:
        """Gives the answer that was found, or has one made."""
        directives, now = asked.directives, self._ports.now()
        if hit is not None and self._may_give(hit, directives, now):
            self._replay(asked, hit, now)
            return
        self._ports.metrics.looked("late" if late else "bypass" if directives.no_cache else "miss")
        why = "fwd=request" if hit is not None or directives.no_cache else "fwd=miss"
        if asked.key:
            why += f'; key="{asked.key}"'
        tape = Tape(self._ports.budget, lambda recorded: self._keep(asked, recorded))
        self._pass_on(directives, asked.reply, go, why + ("; detail=late" if late else ""), tape)

    def _may_give(self, hit: Hit, directives: Directives, now: datetime) -> bool:
        """Whether it is young enough, and can be counted."""
        young = (now - hit.answer.at).total_seconds() <= directives.max_age_s
        return young and not self._ports.recorder.failing

    def _pass_on(
        self, directives: Directives, reply: Reply, go: Go, why: str, tape: Tape | None = None
    ) -> None:
        fields = _status(why)
        if not directives.only_if_cached:
            go(fields, tape)
            return
        self._ports.metrics.refused(NOT_CACHED.status, "not_cached")
        fields += field("x-request-id", request_id()) + error_fields(NOT_CACHED) + NO_RETRY
        reply.send(NOT_CACHED.status, fields, error_body(NOT_CACHED.problem))

    # --- a hit

    def _replay(self, asked: Asked, hit: Hit, now: datetime) -> None:
        """The answer as it was, with what tells that it is an old one."""
        name, answer, reply = request_id(), hit.answer, asked.reply
        left_s, age_s = (hit.expire_at - now).total_seconds(), (now - answer.at).total_seconds()
        fields = field("x-request-id", name) + field("age", str(max(0, int(age_s))))
        fields += _status(f'hit; ttl={int(left_s)}; key="{asked.key}"; detail={hit.tier}')
        if self._ports.config().rehearses(asked.model):
            fields += REHEARSAL
        if answer.stream:
            reply.start(200, fields + EVENT_STREAM)
            reply.write(answer.body)
            reply.finish()
        else:
            reply.send(200, fields + JSON, answer.body)
        self._meter(asked, hit, name, now)

    def _meter(self, asked: Asked, hit: Hit, name: str, now: datetime) -> None:
        """Counts the hit: its prompt was read by nobody, its completion made by nobody. It is written behind;
        a crash loses those of the last moment.
        """
        ports, tokens, took_s = self._ports, hit.answer.usage.input, self._ports.clock() - asked.began
        record = Completed(
            attempt=attempt_id(name, 1),
            request=name,
            tenant=asked.caller.tenant,
            key=asked.caller.id,
            model=asked.name,
            backend=asked.model.candidates[0].backend,
            at=now,
            outcome="finished",
            usage=Usage(input=tokens, cached=tokens),
            billed=True,
            estimated=None if hit.answer.counted else "input",
            duration_ms=round(took_s * 1000),
            first_byte_ms=round(took_s * 1000),
            hit=hit.tier,
        )
        bill(asked.later, ports.recorder.add, record)
        ports.metrics.looked(hit.tier)

    # --- an answer that was made

    def _keep(self, asked: Asked, recorded: Recorded) -> None:
        """Keeps an answer here if it may be, and offers it to all others."""
        if not asked.entry or not may_keep(recorded.body, stream=recorded.stream):
            return
        answer = Answer(
            body=recorded.body,
            stream=recorded.stream,
            usage=recorded.usage,
            counted=recorded.counted,
            at=self._ports.now(),
        )
        expire_at = answer.at + ttl_of(asked.model)
        self._memory.put(asked.entry, answer, expire_at)
        if len(self._tasks) < MOST_AT_ONCE:
            self._spawn(self._offer(asked, recorded.attempt, answer, expire_at))

    async def _offer(self, asked: Asked, attempt: str, answer: Answer, expire_at: datetime) -> None:
        tenant, ports = asked.caller.tenant, self._ports
        try:
            sealed = await ports.sealer.seal(tenant, KIND, asked.entry, packed(answer))
            offered = CacheOffered(
                key=asked.key,
                tenant=tenant,
                model=asked.name,
                entry_id=asked.entry,
                expire_at=expire_at,
                sealed=sealed,
            )
            envelope = wrap(
                offered,
                id=hashed_id((attempt, type_of(CacheOffered))),
                source=SOURCE,
                time=answer.at,
                traceparent=asked.traceparent,
            )
            await ports.publisher.publish((message_of(envelope),))
        except PenstockError as error:
            log.warning("an answer could not be offered to the cache: %s", error)

    def _spawn(self, work: Coroutine[object, object, Hit | None]) -> "asyncio.Task[Hit | None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class Presence:
    """Notes that a client left before its call was begun."""

    gone = False

    def client_gone(self) -> None:
        """See `Listener`."""
        self.gone = True

    def client_paused(self) -> None:
        """See `Listener`."""

    def client_resumed(self) -> None:
        """See `Listener`."""


def _status(what: str) -> Fields:
    """`Cache-Status` (RFC 9211)."""
    return field("cache-status", f"penstock; {what}")
