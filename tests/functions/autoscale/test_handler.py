"""What is kept and said of each backend, whatever arrives how often."""

from collections.abc import Sequence

import msgspec
import pytest
from msgspec.structs import replace

from events.config import Backend, Config, Fleet
from events.envelope import Event, wrap
from events.fleet import BackendPressure, FleetAdvised, PressureReported
from events.jobs import JobDue
from events.words import Conflict, Invalid
from functions.autoscale.handler import TRIES, Ports, handle
from functions.autoscale.standing import TELL_EVERY_S, TOLD, Standing
from services.adapters.memory.advice import MemoryAdvice
from tests.functions.autoscale.reports import NOON, SECOND, calls, pressure

pytestmark = pytest.mark.anyio

POOL = Backend(replicas=("http://10.0.0.5:8000",), fleet=Fleet(max=9, slots=4, boot_s=60))
OTHER = Backend(replicas=("http://10.0.0.6:8000", "http://10.0.0.7:8000"))


class World:
    """A store, a configuration, and events that come."""

    def __init__(self, store: MemoryAdvice | None = None) -> None:
        self.store = store or MemoryAdvice()
        self.config = Config(backends={"pool": POOL, "other": OTHER}, models={})

    async def hear(self, event: Event, second: float, id: str = "") -> Sequence[FleetAdvised]:
        envelope = wrap(event, id=id or f"{second}", source="/test", time=NOON + second * SECOND)
        ports = Ports(advice=self.store, config=lambda: self.config)
        said: list[FleetAdvised] = []
        for event_said in await handle(envelope, ports):
            assert isinstance(event_said, FleetAdvised)
            said.append(event_said)
        return said

    async def job(self, second: float, id: str = "") -> Sequence[FleetAdvised]:
        return await self.hear(JobDue(job="advise", slot=NOON), second, id)

    async def standing(self, backend: str = "pool") -> Standing:
        return (await self.store.standing(backend))[0]


@pytest.fixture
def world() -> World:
    return World()


BUSY = {"queued": 200, "oldest_s": 9.0, "arrived": 40}


async def test_a_report_is_measured_judged_stored_and_told(world: World) -> None:
    (told,) = await world.hear(pressure(**BUSY), 0)
    standing = await world.standing()

    assert ("pool", 9, 1, 1, 9) == (told.backend, told.wanted, told.now, told.min, told.max)
    assert told.reason.startswith("9 replicas")
    assert told.load is not None
    assert 200 == told.load.lanes[0].queued + told.load.lanes[1].queued
    assert (told, NOON) == (standing.advised, standing.at)


async def test_a_routers_report_counts_too(world: World) -> None:
    told = [one for second in (0, 10, 20) for one in await world.hear(calls("r1", 12.0, 6.0), second)]
    assert (6, 2) == (told[-1].wanted, told[-1].now)


async def test_the_job_judges_every_backend_also_where_nobody_reports(world: World) -> None:
    told = await world.job(0)
    assert [("other", 2, 2), ("pool", 1, 1)] == [(one.backend, one.wanted, one.now) for one in told]
    assert {None} == {one.load for one in told}


async def test_advice_is_told_when_it_changes_and_else_once_a_minute(world: World) -> None:
    seconds = [s for s in range(0, 200, 10) if await world.hear(pressure(), s)]
    assert [0, 60, 120, 180] == seconds
    assert 60 == TELL_EVERY_S
    assert 1 == len(await world.hear(pressure(**BUSY), 200))
    assert 0 == len(await world.hear(pressure(**BUSY), 210))
    assert NOON + 210 * SECOND == (await world.standing()).at


async def test_new_bounds_are_told(world: World) -> None:
    await world.hear(pressure(), 0)
    bounded = replace(POOL, fleet=Fleet(min=2, max=9))
    world.config = Config(backends={"pool": bounded}, models={})
    (told,) = await world.hear(pressure(), 10)
    assert (2, 2) == (told.wanted, told.min)


async def test_a_report_of_several_backends_is_taken_apart(world: World) -> None:
    report = pressure(**BUSY)
    idle = BackendPressure(backend="other", replicas=3, lanes=())
    gone = BackendPressure(backend="gone", replicas=3, lanes=())
    both = PressureReported(
        producer="d1", window_s=10, slots=64, backends=(*report.backends, idle, gone, idle)
    )
    told = await world.hear(both, 0)

    assert [("pool", 9), ("other", 3)] == [(one.backend, one.wanted) for one in told]
    assert ["other", "pool"] == [standing.backend for standing in await world.store.standings()]


# --- again, late, at once


async def test_an_event_that_comes_again_changes_nothing_and_is_answered_as_before(world: World) -> None:
    first = await world.hear(pressure(**BUSY), 0, "e1")
    before = await world.standing()
    again = await world.hear(pressure(**BUSY), 0, "e1")
    assert first == again
    assert before == await world.standing()

    await world.hear(pressure(), 10)
    later = [await world.hear(pressure(**BUSY), 0, "e1"), await world.job(5, "j1"), await world.job(5, "j1")]
    assert first == later[0]
    assert [] == [told for told in later[1] if told.backend == "pool"]
    assert later[1] == later[2]


async def test_what_was_said_is_known_for_some_while(world: World) -> None:
    said = {str(number): await world.job(number * 60.0, str(number)) for number in range(TOLD + 3)}
    assert TOLD == len((await world.standing()).told)
    for name, told in list(said.items())[-TOLD:]:
        assert told == await world.job(float(name) * 60, name)
    assert [] == await world.job(0.0, "0")


async def test_a_late_report_counts_but_does_not_turn_back_the_time(world: World) -> None:
    await world.hear(pressure("d1", arrived=10), 100)
    await world.hear(pressure("d2", arrived=10), 95)
    standing = await world.standing()

    assert NOON + 100 * SECOND == standing.at
    assert {"d1", "d2"} == set(standing.measured.dispatchers)


class Contended(MemoryAdvice):
    """A store where others are faster, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def put(self, standing: Standing, version: int) -> None:
        if self.times:
            self.times -= 1
            other = World(MemoryAdvice())
            other.store._stored = self._stored
            name = f"other{self.times}"
            await other.hear(pressure(name, running=1.0), 1, name)
        await super().put(standing, version)


async def test_of_several_that_report_at_once_none_is_lost() -> None:
    world = World(Contended(TRIES - 1))
    await world.hear(pressure(**BUSY), 2)
    dispatchers = (await world.standing()).measured.dispatchers
    assert TRIES == len(dispatchers)


async def test_where_others_are_always_faster_the_event_has_to_come_again() -> None:
    world = World(Contended(TRIES))
    with pytest.raises(Conflict):
        await world.hear(pressure(**BUSY), 2)
    assert 9 == (await world.hear(pressure(**BUSY), 2))[0].wanted


# --- what it is not for


@pytest.mark.parametrize(
    "event",
    [
        JobDue(job="settle-usage", slot=NOON),
        FleetAdvised(backend="b", wanted=1, now=1, min=1, max=1, reason=""),
    ],
)
async def test_another_event_is_not_for_this_function(world: World, event: Event) -> None:
    with pytest.raises(Invalid, match="autoscale"):
        await world.hear(event, 0)


async def test_a_backend_that_is_not_configured_any_more_is_passed_over(world: World) -> None:
    world.config = Config(backends={}, models={})
    assert [] == await world.hear(pressure(**BUSY), 0)
    assert [] == await world.job(60)
    assert [] == list(await world.store.standings())


async def test_nobody_advises_on_replicas_of_a_hosted_backend(world: World) -> None:
    world.config = Config(backends={"pool": POOL, "far": Backend(url="https://far/v1")}, models={})
    assert ["pool"] == [told.backend for told in await world.job(0)]


@pytest.mark.slow
async def test_what_is_kept_stays_small(world: World) -> None:
    for number in range(500):
        second = number * 2.0
        await world.hear(
            pressure(f"d{number % 20}", **(BUSY | {"arrived": number % 50})), second, f"{number}"
        )
        await world.hear(calls(f"r{number % 20}", *(1.0 for _ in range(9))), second, f"r{number}")
    assert len(msgspec.json.encode(await world.standing())) < 20_000
