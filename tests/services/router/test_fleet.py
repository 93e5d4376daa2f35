"""What a router says of its synchronous calls, and what operators read of the advice that follows."""

import asyncio
from dataclasses import dataclass

import pytest

from events.config import Backend, Config
from events.fleet import FleetReported, ReplicaCalls
from services.pool.pool import Pool
from services.router.fleet import Call, FleetReporter, Ports
from tests.services.dispatcher.world import Said
from tests.support import client
from tests.support.client import PATIENCE_S
from tests.support.clock import now
from tests.support.platform import Running, eventually
from tests.support.routing import routed
from tests.support.upstream import hangs, upstream
from tests.support.wire import chat

pytestmark = pytest.mark.anyio

URLS = ("http://10.0.0.5:8000", "http://10.0.0.6:8000")
CONFIG = Config(
    backends={"pool": Backend(replicas=URLS), "other": Backend(replicas=("http://10.0.0.7:8000",))},
    models={},
)


@dataclass(frozen=True)
class To:
    """A call under way."""

    place: tuple[str, str]


def reporter(said: Said, calls: list[Call], config: Config = CONFIG) -> FleetReporter:
    pool = Pool(config)
    ports = Ports(
        calls=lambda: calls, publisher=said, pool=lambda: pool, config=lambda: config, now=now, producer="r1"
    )
    return FleetReporter(ports, look_every_s=0.001)


def told(said: Said) -> list[FleetReported]:
    return [event for event in said.events("fleet-reported-v1") if isinstance(event, FleetReported)]


async def test_calls_are_told_by_backend_and_replica() -> None:
    said = Said()
    await reporter(said, [To(("pool", URLS[1])), To(("pool", URLS[1])), To(("gone", URLS[0]))]).report()
    (report,) = told(said)

    assert ["pool", "other"] == [backend.backend for backend in report.backends]
    assert (ReplicaCalls(url=URLS[0], in_flight=0.0), ReplicaCalls(url=URLS[1], in_flight=2.0)) == (
        report.backends[0].replicas
    )
    assert ("r1", 0.0) == (report.producer, report.backends[1].replicas[0].in_flight)
    assert 0.01 <= report.window_s


async def test_a_router_without_calls_says_nothing() -> None:
    said = Said()
    await reporter(said, []).report()
    assert [] == said.messages


async def test_it_goes_on_where_the_bus_is_away(caplog: pytest.LogCaptureFixture) -> None:
    said = Said(away=True)
    task = asyncio.create_task(reporter(said, [To(("pool", URLS[0]))]).run())
    async with asyncio.timeout(PATIENCE_S):
        while not any("not reported" in record.message for record in caplog.records):
            await asyncio.sleep(0.001)
        said.away = False
        while len(told(said)) < 2:
            await asyncio.sleep(0.001)
    task.cancel()


async def test_the_calls_of_the_hot_path_are_seen_while_they_are_under_way() -> None:
    async with upstream() as engine, routed(engine.url) as router, client.connected(router.port) as one:
        engine.always = hangs
        said = Said()
        config = Config(backends={"pool": Backend(replicas=(engine.url,))}, models={})
        reports = reporter(said, list(router.exchanges.open), config)
        await reports.report()
        await one.send(router.request(chat()))
        await engine.call()
        reports = reporter(said, list(router.exchanges.open), config)
        await reports.report()
        (report,) = told(said)

    assert (ReplicaCalls(url=engine.url, in_flight=1.0),) == report.backends[0].replicas


async def test_operators_read_the_latest_advice(platform: Running) -> None:
    rows: list[dict[str, object]] = []
    await platform.admin("POST", "/jobs/advise/run")

    async def advised() -> bool:
        rows[:] = (await platform.admin("GET", "/advice"))["data"]
        return bool(rows)

    await eventually(advised)
    (row,) = rows
    assert ("pool", 1, 1, 1, 5) == tuple(row[name] for name in ("backend", "wanted", "now", "min", "max"))
    assert str(row["reason"]).startswith("1 replica")
    assert row["advised_at"]


async def test_advice_is_for_operators_only(platform: Running) -> None:
    answer = await platform.call("GET", "/admin/v1/advice")
    assert 401 == answer.status
