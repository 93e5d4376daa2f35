"""The messages that start jobs: ours, and those of Cloud Scheduler, which do not know their slot."""

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from events.bus import Message, message_of
from events.catalog import JOBS, KNOWN, Job
from events.envelope import Envelope, decode, format_time, type_of, wrap
from events.jobs import JobDue
from events.words import Invalid, Record
from services.jobs.slots import by_schedule, latest_slot, next_slot, previous_slot

SOURCE = "/scheduler"
JOB_DUE = type_of(JobDue)
# Cloud Scheduler and Pub/Sub each have a clock: a start may seem to come a moment before its slot. Taken
# for a second start of the slot before, it would be lost.
SKEW = timedelta(seconds=2)


class Tick(Record):
    """What Cloud Scheduler says of a job: its name."""

    job: str


def named(name: str, jobs: Iterable[Job]) -> Job:
    """The job of a name. Raises `Invalid`, naming those there are."""
    known = {job.name: job for job in jobs}
    if name not in known:
        raise Invalid(f"There is no job {name!r}. Jobs: {', '.join(sorted(known))}.")
    return known[name]


def due(job: Job, slot: datetime) -> JobDue:
    """What a schedule says at a slot of the job."""
    until = next_slot(job, slot)
    if job.late_s is not None:
        until = min(until, slot + timedelta(seconds=job.late_s))
    return JobDue(job=job.name, slot=slot, previous=previous_slot(job, slot), until=until)


def by_hand(job: Job, now: datetime) -> JobDue:
    """What somebody says who wants a run now."""
    return JobDue(job=job.name, slot=now)


def start(job: Job, event: JobDue, now: datetime) -> Message:
    """A message that starts the job; each is a start of its own."""
    return message_of(wrap(event, id=secrets.token_hex(16), source=SOURCE, time=now), job.topic)


def tick(job: Job) -> tuple[dict[str, str], bytes]:
    """The attributes and the body Cloud Scheduler sends at each of the job's slots: always the same."""
    attributes = {
        "ce-specversion": "1.0",
        "ce-type": JOB_DUE,
        "ce-source": "/cloud-scheduler",
        "ce-subject": job.name,
        "content-type": "application/json",
    }
    return attributes, msgspec.json.encode(Tick(job=job.name))


def event_of(message: Message) -> Envelope:
    """The envelope of an internal message. A tick becomes the start of the slot it was published for; its
    message id is the event's, so it stays the same event when it comes again. Raises `Invalid`.
    """
    attributes = message.attributes
    if attributes.get("ce-type") == JOB_DUE and not attributes.get("ce-id"):
        message = _completed(message)
    return decode(message.attributes, message.data, KNOWN)


def _completed(message: Message) -> Message:
    if message.published_at is None or not message.id:
        raise Invalid("The start of a job says neither its slot nor when it was published.")
    job = by_schedule(named(_ticked(message.data), JOBS))
    slot = latest_slot(job, message.published_at + SKEW)
    added = {"ce-id": message.id, "ce-time": format_time(message.published_at)}
    return replace(message, attributes=message.attributes | added, data=msgspec.json.encode(due(job, slot)))


def _ticked(data: bytes) -> str:
    try:
        return msgspec.json.decode(data, type=Tick).job
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"The body is not the start of a job: {error}.") from error
