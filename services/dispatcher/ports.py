"""What the dispatcher needs of the world."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from events.bus import Publisher
from events.config import Config
from events.journal import Entry
from events.requests import LARGEST_BODY, RequestDocument, Versioned
from events.words import Lane, Usage
from services.dispatcher.watch import RunWatch
from services.guarding.guard import Guard
from services.pool.pool import Pool
from services.requests.waiters import Waiters
from services.usage.recorder import UsageRecorder


class Requests(Protocol):
    """The queue: request documents and the ways to find them."""

    async def get(self, request_id: str) -> Versioned | None:
        """A document and its version."""

    async def replace(self, document: RequestDocument, version: int) -> int:
        """Writes it if it still has `version`, and returns the new one; else raises `Conflict`."""

    async def waiting_tenants(self, now: datetime) -> Sequence[tuple[str, Lane]]:
        """Who has requests that may be claimed."""

    async def waiting(self, tenant: str, lane: Lane, now: datetime, limit: int) -> Sequence[Versioned]:
        """Those requests, by deadline."""

    async def overdue(self, now: datetime, limit: int) -> Sequence[Versioned]:
        """Requests still waiting whose deadline passed."""

    async def lost(self, before: datetime, limit: int) -> Sequence[Versioned]:
        """Running requests whose lease ended before `before`."""

    async def running(self, limit: int) -> Sequence[Versioned]:
        """Running requests."""

    async def stale(self, before: datetime, limit: int) -> Sequence[Versioned]:
        """Requests accepted before `before` that nobody routed."""

    async def owing(self, before: datetime, limit: int) -> Sequence[Versioned]:
        """Documents that owe events since `before` or longer."""

    async def forget(self, now: datetime, limit: int) -> Sequence[str]:
        """Deletes documents whose time is over; the ids of those deleted."""


class Bodies(Protocol):
    """Where sealed bodies are kept."""

    async def put(self, body_id: str, sealed: bytes, expire_at: datetime) -> None:
        """Stores a body."""

    async def get(self, body_id: str) -> bytes | None:
        """A body, if it is still kept."""

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes bodies whose time is over; how many."""


class Journal(Protocol):
    """Where the events of streamed responses are kept."""

    async def append(self, entry: Entry) -> None:
        """Takes the entry's place for it; raises `Conflict` where another entry has it."""

    async def read(self, request: str, place: int, limit: int) -> Sequence[Entry]:
        """Entries from a place on, in their order."""

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes entries whose time is over; how many."""


class Expiring(Protocol):
    """What is kept for a time."""

    async def forget(self, now: datetime, limit: int) -> int:
        """Deletes what is over; how many."""


class Sealer(Protocol):
    """Seals bodies under the tenant's key."""

    async def seal(self, tenant: str, kind: str, body_id: str, clear: bytes) -> bytes:
        """The sealed form."""

    async def open(self, tenant: str, kind: str, body_id: str, sealed: bytes) -> bytes:
        """The clear form."""


class Metrics(Protocol):
    """What is counted for whoever asks how it goes."""

    def attempted(
        self, model: str, backend: str, path: str, outcome: str, usage: Usage, duration_s: float
    ) -> None:
        """An attempt ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The dispatcher's settings. Times in seconds.

    `slots`: requests this process runs at once. `failures`: attempts that may fail before the request
    does. `cancel_check_s`: how often a running document is read between two heartbeats, which tell of a
    cancellation as well; from `heartbeat_s` on never. `progress_every_s`: how often a running attempt is
    recorded to be alive. `skew_s`: how far clocks may differ before a lease is thought lost.
    `stale_after_s`: how long a request may wait for its route before it is announced again, and how often
    that is done. `answer_bytes`: what an answer may have that is to be kept. `journal_every_s`,
    `journal_bytes`: after how long, or how many bytes, what is told of a streamed response is journalled.
    """

    slots: int = 16
    lease_s: float = 30.0
    heartbeat_s: float = 10.0
    look_every_s: float = 5.0
    cancel_check_s: float = 1.0
    progress_every_s: float = 5.0
    skew_s: float = 2.0
    total_s: float = 900.0
    connect_s: float = 5.0
    failures: int = 4
    retry_first_s: float = 1.0
    retry_last_s: float = 60.0
    owed_after_s: float = 30.0
    stale_after_s: float = 300.0
    keep_s: int = 86_400
    answer_bytes: int = LARGEST_BODY
    journal_every_s: float = 0.5
    journal_bytes: int = 16 * 1024


async def _stays(tenant: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All of it. `owner` names this process in claims; `waiters` are those it rings for, `watch` notes
    what becomes of each run. `may_leave`: whether a tenant's prompts may leave the VPC. `guard`: who judges
    prompts and watches answers; None: nobody.
    """

    requests: Requests
    bodies: Bodies
    journal: Journal
    sealer: Sealer
    publisher: Publisher
    recorder: UsageRecorder
    pool: Callable[[], Pool]
    config: Callable[[], Config]
    now: Callable[[], datetime]
    owner: str
    pace: Pace
    waiters: Waiters = field(default_factory=Waiters)
    metrics: Metrics | None = None
    keyed_calls: Expiring | None = None
    watch: RunWatch | None = None
    may_leave: Callable[[str], Awaitable[bool]] = _stays
    guard: Guard | None = None
