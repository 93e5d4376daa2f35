"""What a start, an end or a pause makes of a job's record: whether a run begins, which slots were missed."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from msgspec.structs import replace

from events.jobs import JobDue, JobRecord, JobRun, Missed
from events.words import Conflict, Record, Unavailable

T = TypeVar("T")

KEPT = 20  # runs, and gaps, of each job
TRIES = 10


class JobRuns(Protocol):
    """The records of all jobs, each with a version that grows with every change."""

    async def get(self, job: str) -> tuple[JobRecord, int]:
        """A job's record, and its version (0: nothing is stored yet)."""

    async def put(self, record: JobRecord, version: int) -> None:
        """Stores a record if what is stored still has this version; else raises `Conflict`."""

    async def all(self) -> Sequence[JobRecord]:
        """Every record there is, by job."""


class Verdict(Record):
    """What becomes of a start, and the record it leaves."""

    what: Literal["run", "taken", "paused", "late"]
    record: JobRecord


def judge(record: JobRecord, due: JobDue, event: str, now: datetime) -> Verdict:
    """Whether the start `event` may run now.

    Of several starts for a slot the first may. It may again when its message comes again, even if its run
    was recorded as finished: what it said may not have been published. Only where it failed and the next
    slot is due, that one takes over.
    """
    own = next((run for run in record.runs if run.event == event), None)
    late = due.until is not None and due.until <= now
    if due.until is not None and own is None:
        if any(run.slot == due.slot and not run.by_hand for run in record.runs):
            return Verdict(what="taken", record=record)
        if record.paused_at is not None:
            return Verdict(what="paused", record=record)
    if late and (own is None or own.outcome == "failed"):
        return Verdict(what="late", record=with_gap(record, due.slot) if own is None else record)
    return Verdict(what="run", record=_begun(record, due, event, now))


def _begun(record: JobRecord, due: JobDue, event: str, now: datetime) -> JobRecord:
    if due.previous is not None:
        record = with_gap(record, due.previous)
    run = JobRun(event=event, slot=due.slot, by_hand=due.until is None, started_at=now)
    others = (other for other in record.runs if other.event != event)
    return replace(record, runs=(run, *others)[:KEPT])


def with_gap(record: JobRecord, last: datetime) -> JobRecord:
    """The record, with the slots up to `last` as missed that lie behind all that is known of.

    A job that never ran has missed nothing, and neither has one that was paused.
    """
    known = [run.slot for run in record.runs] + [gap.last for gap in record.missed]
    if not known:
        return record
    after = max(known + ([record.resumed_at] if record.resumed_at else []))
    if after >= last:
        return record
    return replace(record, missed=(Missed(after=after, last=last), *record.missed)[:KEPT])


def ended(record: JobRecord, event: str, now: datetime, problem: str = "") -> JobRecord:
    """The record once the run of `event` has ended; `problem` says why it failed."""
    runs = [replace(run, ended_at=now, problem=problem) if run.event == event else run for run in record.runs]
    return replace(record, runs=tuple(runs))


def paused(record: JobRecord, now: datetime) -> JobRecord:
    """The record of a job that is not to run but by hand; the first pause stands."""
    return record if record.paused_at else replace(record, paused_at=now)


def resumed(record: JobRecord, now: datetime) -> JobRecord:
    """The record of a job that runs again, from the next slot on."""
    return replace(record, paused_at=None, resumed_at=now) if record.paused_at else record


async def change(runs: JobRuns, job: str, decide: Callable[[JobRecord], tuple[JobRecord, T]]) -> T:
    """Changes a job's record and returns what `decide` tells; where somebody was faster it is asked again."""
    for _ in range(TRIES):
        record, version = await runs.get(job)
        changed, result = decide(record)
        if changed == record:
            return result
        try:
            await runs.put(changed, version)
        except Conflict:
            continue
        return result
    raise Unavailable(f"The record of the job {job} could not be changed: others write it all the time.")
