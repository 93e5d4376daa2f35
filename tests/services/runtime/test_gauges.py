"""What a process shows of its parts when somebody asks."""

from dataclasses import dataclass, field

import pytest

from events.config import Backend, Config, Model
from events.fleet import BackendPressure, LanePressure, PressureReported
from services.pool.pool import Pool
from services.runtime import gauges
from services.runtime.gauges import state_of
from services.telemetry.figures import GAUGES

pytestmark = pytest.mark.anyio

CONFIG = Config(
    backends={"pool": Backend(replicas=("http://10.0.0.1:8000", "http://user:secret@10.0.0.2"))},
    models={"gemma": Model(backend="pool"), "small": Model(backend="pool")},
)


@dataclass
class Call:
    """One under way."""

    model: str
    place: tuple[str, str] = field(default=("pool", "http://10.0.0.1:8000"))


async def test_calls_under_way_are_told_by_model_and_backend_and_none_where_there_is_none() -> None:
    read = gauges.in_flight(lambda: [Call("gemma"), Call("gemma")], lambda: CONFIG)

    assert {("gemma", "pool"): 2, ("small", "pool"): 0} == read()


async def test_a_breaker_is_closed_open_or_half_open() -> None:
    pool = Pool(CONFIG)
    replica = pool.replicas("pool")[0]
    states = [state_of(replica)]
    replica.put_aside(replica.now())
    states.append(state_of(replica))
    replica.aside_until = replica.now()
    states.append(state_of(replica))
    replica.recovered()
    states.append(state_of(replica))

    assert ["closed", "open", "half_open", "closed"] == states


async def test_every_replica_is_in_one_state_and_its_label_holds_no_secret() -> None:
    pool = Pool(CONFIG)
    pool.replicas("pool")[0].put_aside(pool.replicas("pool")[0].now())
    told = gauges.breakers(lambda: pool, lambda: CONFIG)()
    assert not isinstance(told, float)

    assert {("pool", "10.0.0.1:8000", "open"), ("pool", "10.0.0.2:80", "closed")} == {
        values for values, value in told.items() if value
    }
    assert 6 == len(told)


async def test_the_queue_is_what_the_last_report_said() -> None:
    batch = LanePressure(
        lane="batch", queued=4, oldest_s=7.5, running=0, arrived=0, finished=0, service_s=0, output=0
    )
    report = PressureReported(
        producer="p",
        window_s=10,
        slots=16,
        backends=(BackendPressure(backend="pool", replicas=1, lanes=(batch,)),),
    )
    said = gauges.queue(lambda: report)

    assert {("pool", "batch"): 4} == said["queue_waiting"]()
    assert {("pool", "batch"): 7.5} == said["queue_oldest"]()
    assert [{}, {}] == [read() for read in gauges.queue(lambda: None).values()]
    assert said.keys() <= GAUGES.keys()
