"""When jobs are due, by clocks that skip hours and repeat them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.catalog import JOBS, Job
from services.jobs.slots import by_schedule, latest_slot, next_slot, previous_slot, steadily

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = datetime(2027, 3, 28, tzinfo=BERLIN)  # 02:00 becomes 03:00
AUTUMN = datetime(2027, 10, 31, tzinfo=BERLIN)  # 03:00 becomes 02:00


def job(schedule: str, zone: str = "Europe/Berlin", every_s: float | None = None) -> Job:
    return Job(name="x", schedule=schedule, zone=zone, every_s=every_s, consumer="c", purpose="p")


def utc(hour: int, minute: int, second: int = 0) -> datetime:
    return datetime(2027, 3, 1, hour, minute, second, tzinfo=UTC)


def between(job: Job, start: datetime, end: datetime) -> list[str]:
    """The slots from `start` on and before `end`, by the clock of Berlin."""
    found, slot = [], next_slot(job, start - timedelta(microseconds=1))
    while slot < end:
        found.append(f"{slot.astimezone(BERLIN):%H:%M%z}")
        slot = next_slot(job, slot)
    return found


NIGHTS = {
    "a time that is skipped is made up for after the gap": ("30 2 * * *", SPRING, ["03:00+0200"]),
    "several that are skipped are one": ("15,45 2 * * *", SPRING, ["03:00+0200"]),
    "a time outside the gap is not moved": ("30 3 * * *", SPRING, ["03:30+0200"]),
    "an hour of minutes is skipped": ("*/30 2 * * *", SPRING, []),
    "every hour is every hour there is": (
        "30 * * * *",
        SPRING,
        ["00:30+0100", "01:30+0100", "03:30+0200", "04:30+0200"],
    ),
    "a time that comes twice counts once": ("30 2 * * *", AUTUMN, ["02:30+0200"]),
    "every hour comes twice": (
        "30 * * * *",
        AUTUMN,
        ["00:30+0200", "01:30+0200", "02:30+0200", "02:30+0100", "03:30+0100", "04:30+0100"],
    ),
}


@pytest.mark.parametrize(("schedule", "night", "expected"), NIGHTS.values(), ids=NIGHTS)
def test_the_nights_the_clock_changes(schedule: str, night: datetime, expected: list[str]) -> None:
    morning = night.replace(hour=5)
    assert expected == between(job(schedule), night, morning)


def test_the_days_around_have_one_slot_each() -> None:
    for night in (SPRING, AUTUMN):
        days = [night + timedelta(days=ahead) for ahead in range(-2, 4)]
        slots = [between(job("30 2 * * *"), start, end) for start, end in pairwise(days)]
        assert [1] * 5 == [len(found) for found in slots]


def test_in_the_second_of_two_equal_hours_the_slot_of_the_first_is_over() -> None:
    nightly = job("30 2 * * *")
    slot = datetime(2027, 10, 31, 0, 30, tzinfo=UTC)
    again = datetime(2027, 10, 31, 1, 10, tzinfo=UTC)  # 02:10, the second time
    assert slot == latest_slot(nightly, again)
    assert datetime(2027, 11, 1, 1, 30, tzinfo=UTC) == next_slot(nightly, again)


def test_a_slot_is_its_own_latest_and_the_next_is_behind_it() -> None:
    half_hourly = job("*/30 * * * *", "UTC")
    assert utc(12, 30) == latest_slot(half_hourly, utc(12, 30))
    assert utc(12, 0) == previous_slot(half_hourly, utc(12, 30))
    assert utc(13, 0) == next_slot(half_hourly, utc(12, 30))
    assert utc(12, 0) == latest_slot(half_hourly, utc(12, 29, 59))


def test_steps_of_seconds_lie_between_the_times_of_the_schedule() -> None:
    often = job("* * * * *", "UTC", every_s=25)
    expected = [utc(12, 0), utc(12, 0, 25), utc(12, 0, 50), utc(12, 1), utc(12, 1, 25)]
    for before, slot in pairwise(expected):
        assert slot == next_slot(often, before)
        assert before == previous_slot(often, slot)
        assert before == latest_slot(often, slot - timedelta(seconds=1))


def test_the_steps_are_ours_and_not_those_of_cloud_scheduler() -> None:
    often = by_schedule(job("* * * * *", "UTC", every_s=25))
    assert utc(12, 1) == next_slot(often, utc(12, 0))


def test_a_job_may_go_by_steps_alone() -> None:
    steady = steadily(job("30 2 * * *"), 7200)
    assert utc(12, 0) == latest_slot(steady, utc(13, 59))
    assert utc(14, 0) == next_slot(steady, utc(13, 59))


SCHEDULES = ("30 2 * * *", "0 2,3 * * *", "15,45 1-3 * * *", "*/20 * * * *", "0 */6 * * *", "0 0 1 * MON")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney", "Antarctica/Troll")
NEAR = st.sampled_from([SPRING, AUTUMN, datetime(2027, 4, 4, tzinfo=UTC), datetime(2027, 3, 14, tzinfo=UTC)])


@given(
    schedule=st.sampled_from(SCHEDULES),
    zone=st.sampled_from(ZONES),
    near=NEAR,
    minutes=st.integers(-2_000, 2_000),
    every_s=st.sampled_from([None, 15, 700]),
)
def test_slots_follow_one_another_from_wherever_one_looks(
    schedule: str, zone: str, near: datetime, minutes: int, every_s: float | None
) -> None:
    one = job(schedule, zone, every_s)
    at = near.astimezone(UTC) + timedelta(minutes=minutes, seconds=7)
    latest, following = latest_slot(one, at), next_slot(one, at)
    assert latest <= at < following
    assert following == next_slot(one, latest)
    assert latest == previous_slot(one, following)
    assert following == latest_slot(one, following)


@pytest.mark.parametrize("one", JOBS, ids=lambda one: one.name)
def test_the_catalogues_schedules_are_plain_cron_that_cloud_scheduler_takes_as_well(one: Job) -> None:
    assert 5 == len(one.schedule.split())
    assert set("0123456789*/,- ") >= set(one.schedule)
    assert utc(12, 0) < next_slot(one, utc(12, 0))
    assert one.every_s is None or one.every_s < 60
