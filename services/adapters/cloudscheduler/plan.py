"""The steps from what Cloud Scheduler knows to what the catalogue asks of it; nothing is ever deleted."""

from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec.structs import fields

from events.catalog import Job
from events.words import Record
from services.jobs.starts import tick

OURS = "penstock-"  # how the names of all our jobs begin there: they take no labels
RETRIES = 5  # the most it takes; a start that is said twice is run once

Verb = Literal["create", "update", "keep", "unknown"]


class Schedule(Record):
    """A job at Cloud Scheduler. `topic`: where it publishes, in its own project; empty for other targets.
    `retries`: how often a failed publish is tried again.
    """

    name: str
    description: str
    schedule: str
    zone: str
    topic: str
    attributes: dict[str, str]
    data: bytes
    retries: int


class Found(Record):
    """A job that is there, and whether somebody paused it there."""

    schedule: Schedule
    paused: bool = False


class Step(Record):
    """One job, and what is to be done about it.

    `unknown`: it has one of our names, or starts one of our jobs, yet nothing asks for it. `wished`: as it is
    to be, for create and update; `changed`: the fields of it that differ.
    """

    verb: Verb
    name: str
    detail: str = ""
    wished: Schedule | None = None
    changed: tuple[str, ...] = ()


def wished(jobs: Iterable[Job]) -> list[Schedule]:
    """What the catalogue asks for, as far as Cloud Scheduler can do it: once a minute at most."""
    return [_schedule(job) for job in jobs]


def _schedule(job: Job) -> Schedule:
    attributes, data = tick(job)
    return Schedule(
        name=f"{OURS}{job.name}",
        description=job.purpose,
        schedule=job.schedule,
        zone=job.zone,
        topic=job.topic,
        attributes=attributes,
        data=data,
        retries=RETRIES,
    )


def plan(wished: Iterable[Schedule], found: Iterable[Found]) -> list[Step]:
    """In the order of the wishes; then what is unknown."""
    there = {one.schedule.name: one for one in found}
    goals = list(wished)
    steps = [_step(goal, there.pop(goal.name, None)) for goal in goals]
    return [*steps, *_unknown(there.values(), {goal.topic for goal in goals})]


def _step(goal: Schedule, found: Found | None) -> Step:
    if found is None:
        return Step(verb="create", name=goal.name, wished=goal)
    there = found.schedule
    changed = tuple(
        field.name for field in fields(goal) if getattr(goal, field.name) != getattr(there, field.name)
    )
    told = [f"{name}: {_shown(getattr(there, name))} -> {_shown(getattr(goal, name))}" for name in changed]
    detail = "; ".join([*told, *(["paused in Cloud Scheduler"] if found.paused else [])])
    if changed:
        return Step(verb="update", name=goal.name, detail=detail, wished=goal, changed=changed)
    return Step(verb="keep", name=goal.name, detail=detail)


def _unknown(found: Iterable[Found], topics: set[str]) -> Iterator[Step]:
    for there in (one.schedule for one in found):
        if there.topic in topics:
            yield Step(verb="unknown", name=there.name, detail=f"publishes to {there.topic} as well")
        elif there.name.startswith(OURS):
            yield Step(verb="unknown", name=there.name, detail="no job of this release")


def _shown(value: object) -> str:
    match value:
        case dict():
            return ",".join(f"{name}={value[name]}" for name in sorted(value)) or "none"
        case bytes():
            return value.decode("utf-8", "replace") or "none"
    return str(value) or "none"
