"""The engines DNS lists come and go; what DNS said last goes on for a while where it says nothing."""

from collections.abc import AsyncIterator

import pytest

from events.config import Backend, Config
from events.words import Unavailable
from services.adapters.dns.names import DnsNames
from services.pool.directory import DnsDirectory
from services.pool.names import AGAIN_S, KEPT_S, LEAST_S, MOST_S, Found, WatchedName
from services.pool.outside import Outside
from services.pool.pool import Pool
from tests.services.pool.receiving import Heard
from tests.support import wire
from tests.support.names import name_server
from tests.support.upstream import Upstream, begins, upstream

pytestmark = pytest.mark.anyio


class Names:
    """DNS that says what it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.says: Found | Unavailable = Unavailable("the name does not exist")

    async def find(self, host: str) -> Found:
        assert "engines" == host
        if isinstance(self.says, Unavailable):
            raise self.says
        return self.says

    def lists(self, *addresses: str, ttl_s: float = 5.0) -> None:
        self.says = Found(addresses=addresses, ttl_s=ttl_s)

    def watched(self) -> WatchedName:
        return WatchedName("engines", self, clock=lambda: self.now)


@pytest.fixture
def names() -> Names:
    return Names()


async def test_before_it_was_looked_up_there_is_no_engine(names: Names) -> None:
    assert (
        "an engine, and DNS lists none under engines: it was not looked up yet" == names.watched().lacking()
    )


@pytest.mark.parametrize(("ttl_s", "pause_s"), [(0, LEAST_S), (5, 5), (3600, MOST_S)])
async def test_it_is_looked_up_again_when_its_time_is_over(
    names: Names, ttl_s: float, pause_s: float
) -> None:
    names.lists("10.0.0.1", ttl_s=ttl_s)
    assert pause_s == await names.watched().look()


async def test_what_dns_said_last_goes_on_for_a_while(names: Names, caplog: pytest.LogCaptureFixture) -> None:
    names.lists("10.0.0.2", "10.0.0.1", "10.0.0.1")
    watched = names.watched()
    await watched.look()
    names.says = Unavailable("no server answers")
    names.now += KEPT_S - 1
    assert AGAIN_S == await watched.look()
    assert (("10.0.0.1", "10.0.0.2"), "") == (watched.addresses, watched.lacking())

    names.now += 1
    await watched.look()
    assert () == watched.addresses
    assert "an engine, and DNS lists none under engines: no server answers" == watched.lacking()
    assert "its engines are given up" in caplog.text

    names.lists("10.0.0.3")
    await watched.look()
    assert (("10.0.0.3",), "") == (watched.addresses, watched.lacking())


async def test_replicas_follow_the_list_and_those_that_stay_are_the_same(names: Names) -> None:
    watched = names.watched()
    directory = DnsDirectory(8000, watched)
    assert () == directory.replicas()
    names.lists("10.0.0.1", "fd00::1")
    await watched.look()
    first, second = directory.replicas()
    assert ["http://10.0.0.1:8000", "http://[fd00::1]:8000"] == [first.url, second.url]

    names.lists("10.0.0.1", "10.0.0.2")
    await watched.look()
    assert first is directory.replicas()[0]
    assert ["http://10.0.0.1:8000", "http://10.0.0.2:8000"] == [one.url for one in directory.replicas()]


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


async def test_an_engine_that_leaves_the_list_ends_its_calls(engine: Upstream, names: Names) -> None:
    watched = names.watched()
    directory = DnsDirectory(engine.port, watched)
    names.lists("127.0.0.1")
    await watched.look()
    (replica,) = directory.replicas()
    idle, under_way = Heard(), Heard()
    engine.will(begins(wire.delta("a")))
    replica.send("/v1/chat/completions", b"", b"{}", under_way)
    await under_way.hears("received")
    replica.send("/v1/chat/completions", b"", b"{}", idle)
    await idle.end()
    assert 2 == engine.connections

    names.lists("127.0.0.2")
    await watched.look()
    assert replica not in directory.replicas()
    await engine.calls[1].left()  # the idle one
    assert 1 == engine.connections
    await engine.calls[0].send(wire.chunk(wire.DONE), wire.LAST_CHUNK)
    assert "completed" in (await under_way.end()).news
    await engine.calls[0].left()


async def test_a_pool_calls_what_a_real_server_lists(engine: Upstream) -> None:
    config = Config(backends={"pool": Backend(dns=f"engines.pool.svc:{engine.port}")}, models={})
    async with name_server() as server:
        server.listed["engines.pool.svc"] = ["127.0.0.1"]
        outside = Outside(names=DnsNames(("127.0.0.1",), server.port))
        pool = Pool(config, outside)
        assert ({"pool"}, {}) == (set(pool.cold()), pool.lacking())
        pool.start()
        name = outside.name("engines.pool.svc")
        await name.look()
        picked = pool.pick("pool")
        assert picked is not None
        assert {} == pool.cold()
        heard = Heard()
        picked.replica.send("/v1/chat/completions", b"", b"{}", heard)
        assert "completed" in (await heard.end()).news

        later = Pool(config, outside)  # the next version of the document
        later.start()
        pool.close()
        assert {} == later.cold()
        assert later.pick("pool") is not None
        later.close()
