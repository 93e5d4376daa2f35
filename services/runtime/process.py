"""What every process of a platform is made with, and what its settings mean to each part."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from events.bus import Publisher
from events.config import Config
from functions.request.intake import Terms
from services.configuration.feed import ConfigFeed
from services.dispatcher.ports import Pace
from services.guarding.guard import Guard
from services.pool.pool import Pool
from services.requests.ingest import IngestTopics
from services.requests.waiters import Waiters
from services.router.order import Deadlines
from services.runtime.settings import Settings
from services.runtime.stores import Stores
from services.runtime.telemetry import SILENT, Telemetry
from services.usage.apart import StartsApart
from services.usage.recorder import REFUSE, SERVE, Lingers, UsageRecorder

LOCAL_LINGERS = Lingers()


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Settings, stores, the bus and the configuration: the wiring of every part begins here.

    `producer` is this process's name in the ledger and in claims. `lingers` are the bus's own,
    `cancel_check_s` suits what a read of the store costs, `waiters` hear of requests that ended here.
    `guard`: who judges prompts and watches answers; None: nobody.
    """

    settings: Settings
    stores: Stores
    publisher: Publisher
    feed: ConfigFeed
    producer: str
    lingers: Lingers = LOCAL_LINGERS
    cancel_check_s: float = 1.0
    waiters: Waiters = field(default_factory=Waiters)
    telemetry: Telemetry = SILENT
    now: Callable[[], datetime] = utc_now
    guard: Guard | None = None

    @property
    def config(self) -> Callable[[], Config]:
        """The configuration document in force."""
        return self.feed.config

    @property
    def pool(self) -> Callable[[], Pool]:
        """Its backends."""
        return self.feed.pool

    async def store_answers(self) -> str | None:
        """What readiness asks: raises `Unavailable` where the store does not."""
        await self.stores.keys.revision()
        return None

    def recorder(self, source: str) -> UsageRecorder:
        """The usage records of this process; `source` names who makes the attempts."""
        settings, usual = self.settings, self.lingers
        lingers = Lingers(
            started_s=usual.started_s if settings.started_linger_s is None else settings.started_linger_s,
            other_s=usual.other_s if settings.usage_linger_s is None else settings.usage_linger_s,
            pages_in_flight=usual.pages_in_flight,
            apart=usual.apart,
        )
        recorder = StartsApart if usual.apart else UsageRecorder
        return recorder(
            self.publisher,
            producer=self.producer,
            source=source,
            lingers=lingers,
            now=self.now,
            spool=SERVE if settings.on_meter_outage == "serve" else REFUSE,
        )

    def ingest(self) -> IngestTopics:
        """The tenants' ingest topics, for those who publish there on behalf of apps."""
        return IngestTopics(self.publisher, self.stores.sealer, self.stores.keys, now=self.now)

    def terms(self) -> Terms:
        """How long queued requests may wait and are kept, and how large they may be."""
        settings = self.settings
        return Terms(
            deadline_s=settings.queue_deadline_s,
            keep_s=settings.results_kept_s,
            body_bytes=settings.queue_body_bytes,
        )

    def deadlines(self) -> Deadlines:
        """How long each phase of a synchronous request may take."""
        settings = self.settings
        return Deadlines(
            commit_after_s=settings.commit_after_s,
            connect_s=settings.connect_timeout_s,
            first_byte_s=settings.first_byte_timeout_s,
            idle_s=settings.idle_timeout_s,
            total_s=settings.total_timeout_s,
            progress_every_s=settings.progress_every_s,
        )

    def pace(self) -> Pace:
        """How the dispatcher works."""
        settings = self.settings
        return Pace(
            slots=settings.queue_slots,
            lease_s=settings.lease_s,
            heartbeat_s=settings.heartbeat_s,
            cancel_check_s=self.cancel_check_s,
            progress_every_s=settings.progress_every_s,
            total_s=settings.total_timeout_s,
            connect_s=settings.connect_timeout_s,
            failures=settings.queue_failures,
            keep_s=settings.results_kept_s,
        )
