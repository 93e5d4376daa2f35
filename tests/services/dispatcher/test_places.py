"""Where a queued request goes once it runs, whatever changed since it was routed."""

import pytest
from msgspec import structs

from events.config import Backend
from services.adapters.dns.names import DnsNames
from services.pool.outside import Outside
from services.pool.pool import Pool
from tests.services.dispatcher.world import World
from tests.support.names import name_server
from tests.support.upstream import Upstream, answers
from tests.support.wire import completion, usage

pytestmark = pytest.mark.anyio

ANSWER = answers(completion("Hello.", usage=usage(7, 3)))


async def test_a_request_whose_backend_is_gone_goes_where_its_model_is_today(
    world: World, engine: Upstream
) -> None:
    engine.will(ANSWER)
    name = await world.submit()
    await world.change(name, backend="gone")
    await world.dispatch()
    document = await world.ends(name)
    (completed,) = await world.completions(1)

    assert "completed" == document.state
    assert "pool" == completed.backend


@pytest.mark.parametrize("may_leave", [False, True])
async def test_a_request_leaves_only_if_its_tenant_still_lets_it(
    world: World, engine: Upstream, may_leave: bool
) -> None:
    async def asked(tenant: str) -> bool:
        return may_leave

    engine.will(ANSWER)
    name = await world.submit()
    outside = {name: structs.replace(one, hosted=True) for name, one in world.config.backends.items()}
    world.config, world.may_leave = structs.replace(world.config, backends=outside), asked
    await world.dispatch()
    document = await world.ends(name)

    assert ("completed" if may_leave else "failed") == document.state
    assert may_leave == (document.problem is None)
    assert int(may_leave) == len(engine.calls)


async def test_a_request_runs_on_an_engine_that_dns_lists(world: World, engine: Upstream) -> None:
    engine.will(ANSWER)
    name = await world.submit()
    backend = Backend(dns=f"engines.pool.svc:{engine.port}")
    async with name_server() as server:
        server.listed["engines.pool.svc"] = ["127.0.0.1"]
        outside = Outside(names=DnsNames(("127.0.0.1",), server.port))
        await outside.name("engines.pool.svc").look()
        world.config = structs.replace(world.config, backends={"pool": backend})
        world.pool = Pool(world.config, outside)
        await world.dispatch()
        document = await world.ends(name)

    assert "completed" == document.state
    assert 1 == len(engine.calls)
