"""When a job is due: cron by the clock of its zone, and steps of seconds in between.

The one zone whose clock changes by half an hour, Australia/Lord_Howe, may lose a slot on that day.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim
from msgspec.structs import replace

from events.catalog import Job

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = timedelta(microseconds=1)


def latest_slot(job: Job, at: datetime) -> datetime:
    """The last slot at or before `at`, in UTC."""
    base = _latest_by_schedule(job, at)
    if job.every_s is None:
        return base
    step = timedelta(seconds=job.every_s)
    return base + (at - base) // step * step


def next_slot(job: Job, after: datetime) -> datetime:
    """The first slot behind `after`, in UTC."""
    following = [_next_by_schedule(job, after)] if job.schedule else []
    if job.every_s is not None:
        following.append(latest_slot(job, after) + timedelta(seconds=job.every_s))
    return min(following)


def previous_slot(job: Job, slot: datetime) -> datetime:
    """The last slot before `slot`, in UTC."""
    return latest_slot(job, slot - _INSTANT)


def steadily(job: Job, every_s: float) -> Job:
    """The same job without a schedule: every so many seconds since 1970."""
    return replace(job, schedule="", every_s=every_s)


def by_schedule(job: Job) -> Job:
    """The same job as Cloud Scheduler starts it: no more often than its schedule says."""
    return replace(job, every_s=None)


def _latest_by_schedule(job: Job, at: datetime) -> datetime:
    if not job.schedule:
        return _EPOCH
    zone, margin = _clock(job)
    return next(slot for slot in _times(job, (at + margin).astimezone(zone), reverse=True) if slot <= at)


def _next_by_schedule(job: Job, after: datetime) -> datetime:
    zone, margin = _clock(job)
    return next(slot for slot in _times(job, (after - margin).astimezone(zone)) if slot > after)


def _clock(job: Job) -> tuple[tzinfo, timedelta]:
    """The job's zone, and how far from a time to begin to look around it.

    Where a clock hour comes twice, the library does not know which of the two it begins in: it is made to
    begin on the other side of any such change, and what lies between is passed over.
    """
    if job.zone == "UTC":  # known on every machine
        return UTC, timedelta(seconds=1)
    return ZoneInfo(job.zone), timedelta(hours=3)


def _times(job: Job, start: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    for time in CronSim(job.schedule, start, reverse=reverse):
        yield time.astimezone(UTC)
