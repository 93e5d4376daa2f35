"""What starts jobs: our own events, and the messages of Cloud Scheduler, which know no slot."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from events.bus import Message
from events.catalog import EVERY_MINUTE, JOBS, Job
from events.jobs import JobDue
from events.words import Invalid
from services.jobs.starts import by_hand, due, event_of, named, start, tick

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
JOB = JOBS[0]


def ticked(seconds: float = 0.4, id: str = "1029") -> Message:
    """What Pub/Sub delivers of a message of Cloud Scheduler."""
    attributes, data = tick(JOB)
    published_at = NOON + timedelta(seconds=seconds)
    return Message(topic=JOB.topic, attributes=attributes, data=data, id=id, published_at=published_at)


def event(message: Message) -> JobDue:
    said = event_of(message).event
    assert isinstance(said, JobDue)
    return said


def test_a_slots_start_says_the_one_before_and_until_when_it_is_of_use() -> None:
    job = Job(name="x", schedule=EVERY_MINUTE, every_s=15, consumer="c", purpose="p")
    quarter = timedelta(seconds=15)
    assert JobDue(job="x", slot=NOON, previous=NOON - quarter, until=NOON + quarter) == due(job, NOON)
    assert NOON + timedelta(seconds=5) == due(replace(job, late_s=5), NOON).until
    assert NOON + quarter == due(replace(job, late_s=50), NOON).until


def test_each_start_is_an_event_of_its_own() -> None:
    envelopes = [event_of(start(JOB, by_hand(JOB, NOON), NOON)) for _ in range(2)]
    assert 2 == len({envelope.id for envelope in envelopes})
    assert {(JOB.name, NOON, "/scheduler")} == {(one.subject, one.time, one.source) for one in envelopes}


def test_a_message_of_cloud_scheduler_becomes_the_start_of_the_slot_it_was_published_for() -> None:
    for seconds in (0.4, 59.0 - 2):
        said = event(ticked(seconds))
        assert JobDue(job=JOB.name, slot=NOON, previous=NOON - MINUTE, until=NOON + MINUTE) == said
    assert NOON + MINUTE == event(ticked(60.1)).slot


def test_a_clock_that_is_a_moment_behind_does_not_make_it_the_slot_before() -> None:
    assert NOON == event(ticked(-0.5)).slot


def test_it_is_the_same_event_when_it_comes_again_and_another_one_when_it_was_said_twice() -> None:
    first, again, twin = (event_of(ticked(id=name)) for name in ("1", "1", "2"))
    assert first.id == again.id != twin.id
    assert (first.event, first.time) == (twin.event, twin.time)


WRONG = {
    "no time": replace(ticked(), published_at=None),
    "no id": replace(ticked(), id=""),
    "no job": replace(ticked(), data=b"{}"),
    "an unknown job": replace(ticked(), data=b'{"job": "nothing"}'),
    "no JSON": replace(ticked(), data=b"\xff"),
}


@pytest.mark.parametrize("message", WRONG.values(), ids=WRONG)
def test_what_cannot_be_mapped_to_a_slot_is_invalid(message: Message) -> None:
    with pytest.raises(Invalid):
        event_of(message)


def test_a_job_that_is_not_there_is_told_with_those_that_are() -> None:
    assert JOB is named(JOB.name, JOBS)
    with pytest.raises(Invalid, match=r"'nothing'.*Jobs: .*settle-usage, sweep-cache, sweep-requests"):
        named("nothing", JOBS)
