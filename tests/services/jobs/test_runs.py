"""Which of a job's starts run, and what is remembered of the slots that nothing ran."""

from datetime import UTC, datetime, timedelta

import pytest

from events.catalog import EVERY_MINUTE, Job
from events.jobs import JobDue, JobRecord, Missed
from services.jobs.runs import KEPT, ended, judge, paused, resumed
from services.jobs.starts import by_hand, due

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
MINUTELY = Job(name="x", schedule=EVERY_MINUTE, consumer="c", purpose="p")
EMPTY = JobRecord(job="x")


def at(minutes: float, seconds: float = 0) -> datetime:
    return NOON + timedelta(minutes=minutes, seconds=seconds)


def slot(minutes: int) -> JobDue:
    return due(MINUTELY, at(minutes))


def ran(minutes: int, event: str = "e0", record: JobRecord = EMPTY) -> JobRecord:
    """The record once a slot has run in its time."""
    begun = judge(record, slot(minutes), event, at(minutes, 1))
    assert "run" == begun.what
    return ended(begun.record, event, at(minutes, 2))


def test_the_first_start_of_a_slot_runs_and_the_others_do_not() -> None:
    first = judge(EMPTY, slot(0), "e1", at(0, 1))
    assert "run" == first.what
    assert [("e1", at(0), "running")] == [(run.event, run.slot, run.outcome) for run in first.record.runs]

    for record in (first.record, ended(first.record, "e1", at(0, 2)), ended(first.record, "e1", NOON, "No.")):
        second = judge(record, slot(0), "e2", at(0, 3))
        assert ("taken", record) == (second.what, second.record)


def test_a_start_that_comes_again_runs_again_even_after_its_slot() -> None:
    # A crash may have come before the effect, or before what it said was published.
    broken_off = judge(EMPTY, slot(0), "e1", at(0, 1)).record
    for record in (broken_off, ended(broken_off, "e1", at(0, 2))):
        for now in (at(0, 30), at(2)):
            again = judge(record, slot(0), "e1", now)
            assert "run" == again.what
            assert [("e1", now, None)] == [
                (run.event, run.started_at, run.ended_at) for run in again.record.runs
            ]


def test_a_run_that_failed_is_tried_again_until_the_next_slot_takes_over() -> None:
    failed = ended(judge(EMPTY, slot(0), "e1", at(0, 1)).record, "e1", at(0, 2), "The store was away.")
    assert "run" == judge(failed, slot(0), "e1", at(0, 59)).what
    late = judge(failed, slot(0), "e1", at(1))
    assert ("late", failed) == (late.what, late.record)
    assert "failed" == late.record.runs[0].outcome


def test_after_a_long_sleep_only_the_latest_slot_runs_and_the_others_are_one_gap() -> None:
    record, ran_slots = ran(0), []
    for minutes in range(1, 8):  # all that waited arrives at once
        verdict = judge(record, slot(minutes), f"e{minutes}", at(7, 20))
        record = verdict.record
        ran_slots += [minutes] if verdict.what == "run" else []
    assert [7] == ran_slots
    assert at(6) == record.missed[0].last
    assert at(0) == record.missed[-1].after


def test_the_gap_before_a_run_is_recorded_once() -> None:
    record = ran(5, "e5", ran(0))
    assert (Missed(after=at(0), last=at(4)),) == record.missed
    assert record.missed == ran(6, "e6", record).missed


def test_slots_that_follow_one_another_leave_no_gap() -> None:
    assert () == ran(2, "e2", ran(1, "e1", ran(0))).missed


def test_a_job_that_never_ran_has_missed_nothing() -> None:
    assert () == ran(5).missed
    assert EMPTY == judge(EMPTY, slot(0), "e1", at(1)).record


def test_how_late_a_start_may_be_is_the_jobs_own_policy() -> None:
    daily = Job(name="x", schedule="0 12 * * *", late_s=3600, consumer="c", purpose="p")
    record = ran(-60)
    assert "run" == judge(record, due(daily, NOON), "e1", at(59)).what
    late = judge(record, due(daily, NOON), "e1", at(60))
    assert ("late", NOON) == (late.what, late.record.missed[0].last)


def test_what_is_started_by_hand_runs_each_time_and_takes_no_slot() -> None:
    record = paused(ran(0), at(0, 5))
    for number in range(2):
        verdict = judge(record, by_hand(MINUTELY, at(1)), f"h{number}", at(9))
        assert "run" == verdict.what
        record = verdict.record
    assert [True, True, False] == [run.by_hand for run in record.runs]
    assert "run" == judge(resumed(record, at(1)), slot(1), "e1", at(1, 1)).what


def test_a_paused_job_does_not_run_and_misses_nothing() -> None:
    record = paused(ran(0), at(0, 30))
    stays = judge(record, slot(1), "e1", at(1, 1))
    assert ("paused", record) == (stays.what, stays.record)

    record = resumed(record, at(9, 30))
    assert () == ran(10, "e10", record).missed
    assert (Missed(after=at(9, 30), last=at(11)),) == ran(12, "e12", record).missed


def test_the_first_pause_stands_and_resuming_what_runs_changes_nothing() -> None:
    record = paused(EMPTY, at(0))
    assert record == paused(record, at(1))
    assert EMPTY == resumed(EMPTY, at(1))


@pytest.mark.parametrize("times", [1, KEPT + 5])
def test_a_record_stays_small(times: int) -> None:
    record = EMPTY
    for number in range(times):
        record = ran(2 * number, f"e{number}", record)
    assert min(times, KEPT) == len(record.runs)
    assert min(times - 1, KEPT) == len(record.missed)
    assert at(2 * (times - 1)) == record.runs[0].slot
