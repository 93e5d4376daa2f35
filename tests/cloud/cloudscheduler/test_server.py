"""Our side against a server that speaks as Cloud Scheduler does."""

import time
from collections.abc import Iterator

import grpc
import pytest
from google.cloud.scheduler_v1 import types
from msgspec.structs import replace

from events.catalog import JOBS
from events.words import Conflict, Invalid, Unavailable
from services.adapters.cloudscheduler.plan import Found, Schedule, Step, plan, wished
from services.adapters.cloudscheduler.server import CloudScheduler
from tests.cloud.cloudscheduler.serving import Server, serving
from tests.support.upstream import unreachable

GOAL = wished(JOBS)
PLACE = "projects/test/locations/here"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def scheduler(server: Server) -> Iterator[CloudScheduler]:
    made = CloudScheduler("test", "here", server=server.address)
    yield made
    made.close()


def planned(scheduler: CloudScheduler, goal: list[Schedule] = GOAL) -> list[Step]:
    return plan(goal, scheduler.read())


def by_name(scheduler: CloudScheduler) -> dict[str, Found]:
    return {found.schedule.name: found for found in scheduler.read()}


def verbs(scheduler: CloudScheduler, goal: list[Schedule] = GOAL) -> dict[str, str]:
    return {step.name: step.verb for step in planned(scheduler, goal)}


def test_an_empty_place_gets_every_job_and_keeps_it(server: Server, scheduler: CloudScheduler) -> None:
    steps = planned(scheduler)
    assert steps == scheduler.apply(steps)

    assert {goal.name: Found(schedule=goal) for goal in GOAL} == by_name(scheduler)
    assert {"keep"} == set(verbs(scheduler).values())
    assert [] == scheduler.apply(planned(scheduler))
    job = server.jobs[f"{PLACE}/jobs/penstock-settle-usage"]
    assert ("* * * * *", "UTC", 5) == (job.schedule, job.time_zone, job.retry_config.retry_count)
    assert "projects/test/topics/job-settle-usage" == job.pubsub_target.topic_name
    assert b'{"job":"settle-usage"}' == job.pubsub_target.data
    assert "penstock.job.due.v1" == job.pubsub_target.attributes["ce-type"]


def test_only_what_differs_is_touched(server: Server, scheduler: CloudScheduler) -> None:
    scheduler.apply(planned(scheduler))
    server.calls.clear()
    changed = replace(GOAL[0], schedule="*/5 * * * *", zone="Europe/Berlin", data=b"{}")
    goal = [changed, *GOAL[1:]]
    scheduler.apply(planned(scheduler, goal))

    assert [["pubsub_target", "schedule", "time_zone"]] == server.masks
    assert 1 == server.calls.count("update_job")
    assert 0 == server.calls.count("create_job")
    assert {"keep"} == set(verbs(scheduler, goal).values())


def test_what_somebody_paused_there_stays_paused(server: Server, scheduler: CloudScheduler) -> None:
    scheduler.apply(planned(scheduler))
    server.jobs[f"{PLACE}/jobs/{GOAL[0].name}"].state = types.Job.State.PAUSED
    goal = [replace(GOAL[0], description="new"), *GOAL[1:]]
    step = planned(scheduler, goal)[0]
    scheduler.apply([step])

    assert ("update", "paused in Cloud Scheduler") == (step.verb, step.detail.rpartition("; ")[2])
    assert Found(schedule=goal[0], paused=True) == by_name(scheduler)[GOAL[0].name]


def test_a_job_of_another_kind_that_has_our_name_becomes_ours(
    server: Server, scheduler: CloudScheduler
) -> None:
    name = f"{PLACE}/jobs/{GOAL[0].name}"
    target = types.HttpTarget(uri="https://example.com")
    server.keep(types.Job(name=name, schedule="0 4 * * *", time_zone="Etc/UTC", http_target=target))
    (step, *_) = planned(scheduler)
    scheduler.apply([step])

    assert "update" == step.verb
    assert "topic: none -> " in step.detail
    assert "zone" not in step.changed
    assert not server.jobs[name].http_target
    assert "keep" == planned(scheduler)[0].verb


def test_nothing_is_deleted(server: Server, scheduler: CloudScheduler) -> None:
    scheduler.apply(planned(scheduler))
    assert {"keep", "unknown"} == set(verbs(scheduler, GOAL[:1]).values())
    scheduler.apply(planned(scheduler, GOAL[:1]))
    assert len(GOAL) == len(server.jobs)
    assert {"list_jobs", "create_job"} == set(server.calls)


def test_what_is_refused_is_told_in_a_sentence_and_the_others_are_done(
    server: Server, scheduler: CloudScheduler
) -> None:
    goal = [replace(GOAL[0], schedule="often"), *GOAL[1:]]
    with pytest.raises(Invalid, match=rf"refuses the job {GOAL[0].name}: .*'often' is invalid\.$"):
        scheduler.apply(planned(scheduler, goal))
    assert len(GOAL) - 1 == len(server.jobs)


def test_an_old_plan_is_told_to_be_old(scheduler: CloudScheduler) -> None:
    steps = planned(scheduler)
    scheduler.apply(steps)
    with pytest.raises(Conflict, match="not as planned; run this again"):
        scheduler.apply(steps)


def test_who_may_not_is_told_which_role_is_needed(server: Server, scheduler: CloudScheduler) -> None:
    server.wills = [grpc.StatusCode.PERMISSION_DENIED]
    with pytest.raises(Unavailable, match=r"roles/cloudscheduler\.admin"):
        scheduler.read()


def test_what_is_away_for_a_moment_is_asked_again(server: Server, scheduler: CloudScheduler) -> None:
    server.wills = [grpc.StatusCode.UNAVAILABLE]
    assert [] == scheduler.read()
    assert ["list_jobs"] * 2 == server.calls


def test_a_server_that_cannot_be_reached_is_unavailable_within_the_timeout() -> None:
    with unreachable() as url:
        scheduler = CloudScheduler("test", "here", server=url.removeprefix("http://"), timeout_s=1.0)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="projects/test/locations/here"):
            scheduler.read()
        scheduler.close()
    assert time.monotonic() - began < 10
