"""The plan is pure: no server is needed to know what would be done."""

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from events.bus import Message
from events.catalog import EVERY_MINUTE, JOBS, Job
from events.jobs import JobDue
from services.adapters.cloudscheduler.plan import Found, Schedule, Step, plan, wished
from services.jobs.starts import event_of

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
NIGHTLY = Job(name="tidy", schedule="30 2 * * *", zone="Europe/Berlin", consumer="c", purpose="tidies")
SWEEP = Job(name="sweep", schedule=EVERY_MINUTE, every_s=15, consumer="c", purpose="sweeps")


def there(schedule: Schedule, *, paused: bool = False) -> Found:
    return Found(schedule=schedule, paused=paused)


def told(steps: list[Step]) -> list[tuple[str, str, str]]:
    return [(step.verb, step.name, step.detail) for step in steps]


def test_every_job_of_the_catalogue_becomes_one_with_its_schedule() -> None:
    goals = wished(JOBS)
    assert [(f"penstock-{job.name}", job.topic, job.schedule, job.zone) for job in JOBS] == [
        (goal.name, goal.topic, goal.schedule, goal.zone) for goal in goals
    ]
    assert [EVERY_MINUTE] == [goal.schedule for goal in wished([SWEEP])]


def test_what_cloud_scheduler_publishes_is_the_start_of_the_jobs_latest_slot() -> None:
    for job, goal in zip(JOBS, wished(JOBS), strict=True):
        at = NOON + timedelta(seconds=1)
        message = Message(
            topic=goal.topic, attributes=goal.attributes, data=goal.data, id="1", published_at=at
        )
        event = event_of(message).event
        assert isinstance(event, JobDue)
        assert (job.name, NOON) == (event.job, event.slot)
        assert event.until is not None and at < event.until


def test_what_is_missing_is_created_and_what_is_there_is_kept() -> None:
    first, second = wished([NIGHTLY, SWEEP])
    steps = plan([first, second], [there(second)])
    assert [("create", "penstock-tidy", ""), ("keep", "penstock-sweep", "")] == told(steps)
    assert (first, None) == (steps[0].wished, steps[1].wished)


def test_what_differs_is_updated_and_told() -> None:
    (goal,) = wished([NIGHTLY])
    actual = replace(goal, schedule="0 4 * * *", zone="UTC", attributes={"a": "1"}, data=b"", topic="")
    (step,) = plan([goal], [there(actual)])
    assert ("update", goal) == (step.verb, step.wished)
    assert ("schedule", "zone", "topic", "attributes", "data") == step.changed
    assert (
        "schedule: 0 4 * * * -> 30 2 * * *; zone: UTC -> Europe/Berlin; topic: none -> job-tidy"
        in step.detail
    )
    assert "attributes: a=1 -> ce-source=/cloud-scheduler," in step.detail
    assert 'data: none -> {"job":"tidy"}' in step.detail


def test_what_somebody_paused_there_stays_so_and_is_told() -> None:
    (goal,) = wished([NIGHTLY])
    kept, updated = (
        plan([goal], [there(actual, paused=True)])[0] for actual in (goal, replace(goal, retries=0))
    )
    assert ("keep", "paused in Cloud Scheduler") == (kept.verb, kept.detail)
    assert ("update", "retries: 0 -> 5; paused in Cloud Scheduler") == (updated.verb, updated.detail)


def test_unknown_ones_are_listed_and_those_of_others_are_not() -> None:
    (goal,) = wished([NIGHTLY])
    gone = replace(goal, name="penstock-gone", topic="job-gone")
    twin = replace(goal, name="by-hand")
    others = replace(goal, name="theirs", topic="news")
    steps = plan([goal], [there(one) for one in (goal, gone, twin, others)])
    assert [
        ("keep", "penstock-tidy", ""),
        ("unknown", "penstock-gone", "no job of this release"),
        ("unknown", "by-hand", "publishes to job-tidy as well"),
    ] == told(steps)
