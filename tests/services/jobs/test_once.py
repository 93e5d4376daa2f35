"""A job's handler behind its record: run once for each slot, and told what became of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from events.catalog import EVERY_MINUTE, Job
from events.envelope import Envelope, Event, wrap
from events.inference import InferenceRequested
from events.jobs import JobDue, JobRun
from events.words import Invalid, Unavailable
from services.adapters.memory.job_runs import MemoryJobRuns
from services.jobs.once import RunOnce
from services.jobs.starts import by_hand, due
from tests.contracts.adapters import START, Clock

pytestmark = pytest.mark.anyio

JOB = Job(name="x", schedule=EVERY_MINUTE, consumer="c", purpose="p")
SLOT = START.replace(second=0, microsecond=0)
SAID = InferenceRequested(request_id="req_1", tenant="acme", model="gemma", lane="batch")


@dataclass(slots=True)
class World:
    """A handler that takes a second, and fails as often as it is told to."""

    clock: Clock = field(default_factory=Clock)
    runs: MemoryJobRuns = field(default_factory=MemoryJobRuns)
    fails: list[Exception] = field(default_factory=list)
    handled: list[str] = field(default_factory=list)

    async def hears(self, event: Event, id: str) -> Sequence[Event]:
        """What follows from an event, in a process of its own."""
        envelope = wrap(event, id=id, source="/test", time=self.clock())
        return await RunOnce(self.runs, self.clock).guard(self._handle)(envelope)

    async def _handle(self, envelope: Envelope) -> Sequence[Event]:
        self.handled.append(envelope.id)
        self.clock.forward(1)
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails.pop(0)
        return [SAID]

    async def last(self) -> JobRun:
        record, _ = await self.runs.get(JOB.name)
        return record.runs[0]


@pytest.fixture
def world() -> World:
    return World()


def due_at(minutes: int = 0) -> JobDue:
    return due(JOB, SLOT + timedelta(minutes=minutes))


async def test_of_many_schedulers_and_messages_one_start_runs(world: World) -> None:
    said = await asyncio.gather(*(world.hears(due_at(), f"e{number}") for number in range(5)))

    assert [[SAID], [], [], [], []] == sorted(said, key=len, reverse=True)
    assert 1 == len(world.handled)
    assert ("finished", SLOT, timedelta(seconds=1)) == (
        (run := await world.last()).outcome,
        run.slot,
        run.ended_at and run.ended_at - run.started_at,
    )


async def test_a_message_that_comes_again_gets_the_same_answer(world: World) -> None:
    assert [SAID] == await world.hears(due_at(), "e1") == await world.hears(due_at(), "e1")


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (Unavailable("The store was away."), "The store was away."),
        (RuntimeError("with a secret"), "RuntimeError, see the log."),
        (Invalid("x" * 1_000), "x" * 300),
    ],
    ids=["ours", "a bug", "long"],
)
async def test_a_failure_is_recorded_and_raised_and_the_same_start_tries_again(
    world: World, error: Exception, problem: str
) -> None:
    world.fails = [error]
    with pytest.raises(type(error)):
        await world.hears(due_at(), "e1")
    assert ("failed", problem) == ((await world.last()).outcome, (await world.last()).problem)

    assert [] == await world.hears(due_at(), "e2")
    assert [SAID] == await world.hears(due_at(), "e1")
    assert "finished" == (await world.last()).outcome


async def test_what_comes_late_is_not_run_and_counts_as_missed(world: World) -> None:
    await world.hears(due_at(), "e1")
    world.clock.forward(240)
    assert [] == await world.hears(due_at(2), "e2")
    record, _ = await world.runs.get(JOB.name)
    assert [SLOT + timedelta(minutes=2)] == [gap.last for gap in record.missed]


async def test_what_is_started_by_hand_always_runs(world: World) -> None:
    await world.hears(due_at(), "e1")
    await world.hears(by_hand(JOB, world.clock()), "e2")
    assert ["e1", "e2"] == world.handled
    assert (await world.last()).by_hand


async def test_events_that_start_no_job_pass(world: World) -> None:
    assert [SAID] == await world.hears(SAID, "r1")
    assert [] == await world.runs.all()


class Away(MemoryJobRuns):
    """A store that cannot be reached for so many calls, from the one given on."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self._away = range(first, last + 1)
        self._calls = 0

    async def get(self, job: str) -> tuple[object, int]:  # type: ignore[override]
        self._calls += 1
        if self._calls in self._away:
            raise Unavailable("The records were away.")
        return await super().get(job)


async def test_without_its_record_a_job_does_not_run_and_the_message_comes_again(world: World) -> None:
    world.runs = Away(1, 1)
    with pytest.raises(Unavailable):
        await world.hears(due_at(), "e1")
    assert [] == world.handled
    assert [SAID] == await world.hears(due_at(), "e1")


async def test_the_handlers_own_failure_is_told_where_it_cannot_be_recorded(world: World) -> None:
    world.runs = Away(2, 2)
    world.fails = [RuntimeError("a bug")]
    with pytest.raises(RuntimeError):
        await world.hears(due_at(), "e1")
    assert "running" == (await world.last()).outcome
