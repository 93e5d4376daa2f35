"""Calls under way when another configuration comes: they end as they began, and others end too."""

import asyncio

import pytest

from events.config import Backend, Candidate, Config, Model
from services.router.order import Deadlines
from tests.services.router.cold.pool import HOLD
from tests.services.router.refusing import refusal
from tests.services.router.test_fallback import fallback
from tests.services.router.test_retries import SOON
from tests.support.routing import routed
from tests.support.upstream import Upstream, answers, hangs, upstream, waits_for
from tests.support.wire import MODEL, chat, problem

pytestmark = pytest.mark.anyio


def alone(config: Config) -> Config:
    """The same without what the model falls back on."""
    return Config(backends={"pool": config.backends["pool"]}, models={MODEL: Model(backend="pool")})


async def test_a_model_to_fall_back_on_is_there_for_calls_that_knew_it(engine: Upstream) -> None:
    go = asyncio.Event()
    engine.always = waits_for(go, answers(problem(), 500))
    async with upstream() as spare:
        config = fallback(engine.url, spare.url)
        async with routed(config=config, retries=SOON) as it:
            calling = asyncio.create_task(it.call(chat()))
            await engine.call()
            it.served.take(alone(config))
            go.set()
            answer = await calling

    assert (200, '"small@spare";by=fallback') == (answer.status, answer.headers["x-penstock-route"])


async def test_deadlines_hold_behind_it(engine: Upstream) -> None:
    engine.always = hangs
    async with upstream() as spare:
        config = fallback(engine.url, spare.url)
        async with routed(config=config, retries=SOON, deadlines=Deadlines(first_byte_s=0.1)) as it:
            calling = asyncio.create_task(it.call(chat()))
            await engine.call()
            it.served.take(alone(config))
            statuses = [(await calling).status, (await it.call(chat())).status]

    assert [200, 504] == statuses


async def test_who_waits_for_an_engine_is_answered_by_what_is_left(engine: Upstream) -> None:
    await engine.refuse()
    async with upstream() as spare:
        backends = {
            "pool": Backend(replicas=(engine.url,)),
            "gone": Backend(replicas=(engine.url,)),
            "spare": Backend(replicas=(spare.url,)),
        }
        config = Config(
            backends=backends,
            models={
                MODEL: Model(
                    backends=tuple(Candidate(backend=one) for one in ("pool", "gone")), fallback=("small",)
                ),
                "small": Model(backend="spare"),
            },
        )
        less = Config(
            backends={name: backends[name] for name in ("pool", "spare")},
            models={MODEL: Model(backend="pool", fallback=("small",)), "small": Model(backend="spare")},
        )
        async with routed(config=config, deadlines=Deadlines(total_s=1.0)) as it:
            calling = asyncio.create_task(it.call(chat(), HOLD))
            while not it.room.waiting:
                await asyncio.sleep(0.005)
            it.served.take(less)
            refusal(await calling, 503, "engine_unavailable")

    assert [] == spare.calls


async def test_the_route_is_told_by_the_configuration_it_was_chosen_by(engine: Upstream) -> None:
    pool = Backend(replicas=(engine.url,))
    candidates = (Candidate(backend="pool"), Candidate(backend="idle", weight=0))
    async with routed(engine.url) as it:
        first = await it.call(chat())
        it.served.take(
            Config(backends={"pool": pool, "idle": pool}, models={MODEL: Model(backends=candidates)})
        )
        second = await it.call(chat())

    assert [f'"{MODEL}@pool"', f'"{MODEL}@pool";by=weight'] == [
        one.headers["x-penstock-route"] for one in (first, second)
    ]
