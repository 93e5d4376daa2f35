import asyncio
from datetime import timedelta
from itertools import count

import pytest
from msgspec.structs import replace

from events.backup import BackupFailed
from events.catalog import EVERY_MINUTE, Job
from events.envelope import Envelope, wrap
from events.jobs import JobDue, JobRecord, JobRun, Missed
from events.words import Conflict
from services.jobs.once import RunOnce
from services.jobs.runs import change, paused, resumed
from services.jobs.starts import due
from tests.contracts.adapters import START, Clock, JobRuns
from tests.contracts.crashing import Life, Stop

pytestmark = pytest.mark.anyio

JOB = Job(name="settle/usage", schedule=EVERY_MINUTE, consumer="c", purpose="p")
SLOT = START.replace(second=0, microsecond=0)
RUN = JobRun(event="e1", slot=START, started_at=START, ended_at=START, by_hand=True, problem="No.")
RECORD = JobRecord(
    job=JOB.name,
    paused_at=START,
    resumed_at=START - timedelta(hours=1),
    runs=(RUN, replace(RUN, event="e0")),
    missed=(Missed(after=START, last=START),),
)


async def test_a_record_is_kept_whole_and_its_version_grows(job_runs: JobRuns) -> None:
    assert (JobRecord(job=JOB.name), 0) == await job_runs.get(JOB.name)
    await job_runs.put(RECORD, 0)
    found, first = await job_runs.get(JOB.name)
    await job_runs.put(found, first)
    again, second = await job_runs.get(JOB.name)

    assert RECORD == found == again
    assert 0 < first < second


async def test_a_record_that_somebody_changed_is_not_overwritten(job_runs: JobRuns) -> None:
    await job_runs.put(RECORD, 0)
    _, version = await job_runs.get(JOB.name)
    await job_runs.put(replace(RECORD, paused_at=None), version)

    for old in (0, version):
        with pytest.raises(Conflict, match="settle/usage"):
            await job_runs.put(RECORD, old)
    assert (await job_runs.get(JOB.name))[0].paused_at is None


async def test_every_job_has_a_record_of_its_own(job_runs: JobRuns) -> None:
    assert [] == await job_runs.all()
    other = JobRecord(job="backup")
    await job_runs.put(RECORD, 0)
    await job_runs.put(other, 0)

    assert [other, RECORD] == await job_runs.all()
    assert other == (await job_runs.get("backup"))[0]


async def test_of_many_changes_at_once_none_is_lost(job_runs: JobRuns) -> None:
    def one_more(record: JobRecord) -> tuple[JobRecord, int]:
        runs = (*record.runs, RUN)
        return replace(record, runs=runs), len(runs)

    told = await asyncio.gather(*(change(job_runs, JOB.name, one_more) for _ in range(5)))

    assert [1, 2, 3, 4, 5] == sorted(told)
    assert 5 == len((await job_runs.get(JOB.name))[0].runs)


async def test_a_pause_lasts_until_it_is_ended(job_runs: JobRuns) -> None:
    await change(job_runs, JOB.name, lambda record: (paused(record, START), None))
    assert START == (await job_runs.get(JOB.name))[0].paused_at
    await change(job_runs, JOB.name, lambda record: (resumed(record, START), None))
    assert (None, START) == ((record := (await job_runs.get(JOB.name))[0]).paused_at, record.resumed_at)


class Handler:
    """A handler whose effect can be seen."""

    def __init__(self) -> None:
        self.effects: list[str] = []

    async def handle(self, envelope: Envelope) -> list[JobDue]:
        self.effects.append(envelope.id)
        return []


def starts(id: str) -> Envelope:
    return wrap(due(JOB, SLOT), id=id, source="/test", time=START)


async def test_of_many_starts_of_a_slot_one_runs(job_runs: JobRuns, clock: Clock) -> None:
    handler = Handler()
    once = RunOnce(job_runs, clock).guard(handler.handle)
    await asyncio.gather(*(once(starts(f"e{number}")) for number in range(4)))

    assert 1 == len(handler.effects)
    (run,) = (await job_runs.get(JOB.name))[0].runs
    assert ("finished", SLOT, handler.effects) == (run.outcome, run.slot, [run.event])


async def test_a_process_may_stop_at_any_step_of_a_run(job_runs: JobRuns, clock: Clock) -> None:
    for number in count(1):
        for late in (False, True):
            life, handler = Life(number, late=late), Handler()
            minute = SLOT + timedelta(minutes=2 * number + late)
            clock.time = minute
            stopped = wrap(due(JOB, minute), id=f"e{number}{late}", source="/test", time=minute)
            try:
                await RunOnce(life.around(job_runs), clock).guard(life.around(handler).handle)(stopped)
            except Stop:
                over = False
            else:
                over = True
            other = wrap(due(JOB, minute), id=f"other{number}{late}", source="/test", time=minute)
            guarded = RunOnce(job_runs, clock).guard(handler.handle)
            await guarded(stopped)
            await guarded(other)

            assert {stopped.id} == {*handler.effects}, life.last_call
            record, _ = await job_runs.get(JOB.name)
            assert (stopped.id, "finished") == (record.runs[0].event, record.runs[0].outcome), life.last_call
        if over:
            return


@pytest.mark.parametrize("reason", ["The bucket is gone.", "x" * 1_000, ""], ids=["short", "long", "none"])
async def test_a_backup_that_says_it_failed_is_recorded_as_failed_and_why(
    job_runs: JobRuns, clock: Clock, reason: str
) -> None:
    async def fails(envelope: Envelope) -> list[BackupFailed]:
        return [BackupFailed(backup_id="1", reason=reason)]

    envelope = wrap(due(JOB, SLOT), id="e1", source="/test", time=clock())
    said = await RunOnce(job_runs, clock).guard(fails)(envelope)
    (run,) = (await job_runs.get(JOB.name))[0].runs

    assert [reason] == [event.reason for event in said]
    assert ("failed", reason[:300] or "It says no reason.") == (run.outcome, run.problem)
