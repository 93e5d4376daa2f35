"""The choreography as a table: every event, who consumes it and how it is retried; every job."""

from datetime import datetime

from events.answer import AnswerDue, AnswerReady
from events.backup import BackupCompleted, BackupFailed
from events.bus import topic_by_type
from events.cache import CacheOffered, CachePurged
from events.envelope import Event, type_of
from events.fleet import FleetAdvised, FleetReported, PressureReported
from events.inference import InferenceCompleted, InferenceRequested, InferenceRouted
from events.ingest import IngestReceived
from events.jobs import JobDue
from events.usage import UsageRecorded
from events.words import ApiKey, Record


class Retry(Record):
    """How a subscription treats a message that was not acknowledged.

    It comes again after a pause that doubles from `min_backoff_s` to `max_backoff_s`; after `attempts`
    deliveries it goes to the dead letter. Unanswered deliveries count after `ack_deadline_s`.
    """

    ack_deadline_s: int = 60
    min_backoff_s: float = 1.0
    max_backoff_s: float = 600.0
    attempts: int = 10


class Subscription(Record):
    """One consumer of a topic: a function or a service, by its folder name."""

    topic: str
    consumer: str
    retry: Retry = Retry()

    @property
    def name(self) -> str:
        """Unique among all subscriptions."""
        return f"{self.topic}.{self.consumer}"

    @property
    def dead_letter_topic(self) -> str:
        """Where messages end that nobody could handle."""
        return f"{self.name}.dead"


class EventRow(Record):
    """An event, how long its topic keeps messages, and its consumers."""

    event: type[Event]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    retention_days: int = 7
    retry: Retry = Retry()

    @property
    def topic(self) -> str:
        """The topic it is published to."""
        return topic_by_type(type_of(self.event))


JOB_RETRY = Retry(attempts=20)  # a store may be away for an hour, and a daily job has but one start
LONG_JOB_RETRY = Retry(ack_deadline_s=600, attempts=20)  # the longest deadline Pub/Sub has


class Job(Record):
    """Something a schedule starts, by a `JobDue` on its topic.

    `schedule`: when, in the five fields of cron, by the clock of `zone`. `every_s`: besides, again and again
    from each of these times to the next; only a scheduler of ours does that, because the finest step of
    Cloud Scheduler is a minute. So a job has to get by with its schedule alone. `late_s`: how late a run may
    still begin; None: until the next one is due. A start that comes later counts as missed. `retry`: what a
    run may take before it is thought dead, and how often it is tried.
    """

    name: str
    schedule: str
    consumer: str
    purpose: str
    zone: str = "UTC"
    every_s: float | None = None
    late_s: float | None = None
    retry: Retry = JOB_RETRY

    @property
    def topic(self) -> str:
        """The topic its due event is published to."""
        return f"job-{self.name}"


PATIENT = Retry(max_backoff_s=60.0, attempts=100)  # soon again, and for longer than an outage lasts
REPORT_RETRY = Retry(ack_deadline_s=30, max_backoff_s=10.0, attempts=5)  # soon the next report says more
CACHE_RETRY = Retry(max_backoff_s=60.0, attempts=5)  # an answer that is not kept is made again
EVENTS: tuple[EventRow, ...] = (
    EventRow(
        event=InferenceRequested,
        producers=("request", "dispatcher"),
        consumers=("routing",),
        retry=PATIENT,
    ),
    EventRow(
        event=InferenceRouted,
        producers=("router", "routing"),
        consumers=("dispatcher",),
        retry=Retry(ack_deadline_s=10, attempts=100),
    ),
    EventRow(
        event=InferenceCompleted,
        producers=("dispatcher", "request", "routing", "router"),
        consumers=("caching",),
        retry=CACHE_RETRY,
    ),
    EventRow(
        event=AnswerDue,
        producers=("dispatcher", "request", "routing", "router"),
        consumers=("delivery",),
        retry=Retry(attempts=20),  # the topic may have to be made first
    ),
    EventRow(
        event=UsageRecorded,
        producers=("router", "dispatcher"),
        consumers=("metering",),
        retry=PATIENT,
    ),
    EventRow(event=BackupCompleted, producers=("backup",), consumers=()),
    EventRow(event=BackupFailed, producers=("backup",), consumers=()),
    EventRow(
        event=PressureReported,
        producers=("dispatcher",),
        consumers=("autoscale",),
        retention_days=1,
        retry=REPORT_RETRY,
    ),
    EventRow(
        event=FleetReported,
        producers=("router",),
        consumers=("autoscale",),
        retention_days=1,
        retry=REPORT_RETRY,
    ),
    EventRow(event=FleetAdvised, producers=("autoscale",), consumers=()),
    EventRow(
        event=CacheOffered,
        producers=("router",),
        consumers=("caching",),
        retention_days=1,
        retry=CACHE_RETRY,
    ),
    EventRow(event=CachePurged, producers=("router",), consumers=("caching",), retry=Retry(attempts=100)),
)

EVERY_MINUTE = "* * * * *"
JOBS: tuple[Job, ...] = (
    Job(
        name="settle-usage",
        schedule=EVERY_MINUTE,
        every_s=15,
        consumer="metering",
        purpose="settles attempts that fell silent by a visible estimate",
    ),
    Job(
        name="sweep-requests",
        schedule=EVERY_MINUTE,
        every_s=15,
        consumer="dispatcher",
        purpose="expires overdue requests, frees lost claims, republishes what is still owed or unrouted",
    ),
    Job(
        name="take-backup",
        schedule="*/30 * * * *",
        consumer="backup",
        purpose="copies the data and the wrapped data keys into an archive each, and thins out the old ones",
        retry=LONG_JOB_RETRY,
    ),
    Job(
        name="advise",
        schedule=EVERY_MINUTE,
        consumer="autoscale",
        purpose="judges how many replicas there should be, also where nobody reports the load",
    ),
    Job(
        name="sweep-cache",
        schedule="*/5 * * * *",
        consumer="caching",
        purpose="deletes cached answers whose time is over",
    ),
)

INGEST_RETRY = PATIENT

_CLASSES: tuple[type[Event], ...] = (*(row.event for row in EVENTS), JobDue, IngestReceived, AnswerReady)
KNOWN: dict[str, type[Event]] = {type_of(event): event for event in _CLASSES}


def ingest_topic(tenant: str) -> str:
    """The topic a tenant's apps publish requests to."""
    return f"ingest-{tenant}"


def answers_topic(tenant: str) -> str:
    """The topic a tenant's apps hear answers on, where they asked for that; nobody of ours listens."""
    return f"answers-{tenant}"


def subscriptions() -> tuple[Subscription, ...]:
    """Every fixed subscription; ingest topics come and go with tenants."""
    of_events = (
        Subscription(topic=row.topic, consumer=consumer, retry=row.retry)
        for row in EVENTS
        for consumer in row.consumers
    )
    of_jobs = (Subscription(topic=job.topic, consumer=job.consumer, retry=job.retry) for job in JOBS)
    return (*of_events, *of_jobs)


def ingest_subscription(tenant: str) -> Subscription:
    """The subscription of a tenant's ingest topic."""
    return Subscription(topic=ingest_topic(tenant), consumer="request", retry=INGEST_RETRY)


def ingest_key(tenant: str, now: datetime) -> ApiKey:
    """The named key an ingest topic acts as: it has no secret, and is revoked like any other."""
    name = f"ingest-{tenant}"
    return ApiKey(hash=name, id=name, tenant=tenant, name="ingest topic", created_at=now)
