"""What a caller may wish while no engine of its model can be reached, and what holds if it does not."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from tests.services.router.cold.pool import cold_pool, config_of
from tests.services.router.refusing import refusal
from tests.services.router.test_retries import SOON
from tests.support.routing import routed
from tests.support.upstream import Upstream, answers, upstream
from tests.support.wire import MODEL, chat, problem

pytestmark = pytest.mark.anyio


def wishes(wish: str | None) -> dict[str, str]:
    return {} if wish is None else {"x-penstock-cold": wish}


@pytest.mark.parametrize("wish", [None, "fail", " FAIL ", "fallback"])
async def test_a_pool_without_engines_is_a_refusal_that_says_when_one_may_be_there(
    engine: Upstream, wish: str | None
) -> None:
    async with cold_pool(config_of(engine)) as cold:
        answer = await cold.it.call(chat(), wishes(wish))
        again = await cold.it.call(chat(), wishes(wish))

    message = refusal(answer, 503, "engine_unavailable")
    assert "x-penstock-cold: hold" in message
    assert 88 <= int(again.headers["retry-after"]) <= int(answer.headers["retry-after"]) == 90
    assert [] == cold.it.tap.records


async def test_an_engine_that_cannot_be_reached_is_the_same(engine: Upstream) -> None:
    await engine.refuse()
    async with routed(engine.url) as it:
        answer = await it.call(chat())

    refusal(answer, 503, "engine_unavailable")
    assert "150" == answer.headers["retry-after"]


@pytest.mark.parametrize("wish", ["", "wait", "hold, fail", "202", "h" * 5000])
async def test_what_is_no_wish_is_refused_whether_the_pool_is_cold_or_not(
    engine: Upstream, wish: str
) -> None:
    async with routed(engine.url) as it:
        message = refusal(await it.call(chat(), wishes(wish)), 400, "invalid_value", "x-penstock-cold")

    assert "queue, hold, fallback, fail" in message
    assert len(message) < 300
    assert [] == engine.calls


@pytest.mark.parametrize("wish", ["fail", "hold", "fallback"])
async def test_a_wish_changes_nothing_while_there_is_an_engine(engine: Upstream, wish: str) -> None:
    async with routed(engine.url) as it:
        answer = await it.call(chat(), wishes(wish))

    assert (200, f'"{MODEL}@pool"') == (answer.status, answer.headers["x-penstock-route"])


@pytest.mark.parametrize(
    ("wish", "model", "status"),
    [
        ("fallback", {}, 200),
        ("fail", {}, 503),
        (None, {}, 200),  # its own fallback was asked for by whoever configured it
        (None, {"cold": "fail"}, 503),
        (None, {"cold": "fallback"}, 200),
        ("fallback", {"cold": "fail"}, 200),
        ("fail", {"cold": "fallback"}, 503),
    ],
)
async def test_another_model_answers_only_where_that_is_wished(
    engine: Upstream, wish: str | None, model: dict[str, Any], status: int
) -> None:
    async with (
        upstream() as spare,
        cold_pool(config_of(engine, fallback=spare.url, **model)) as cold,
    ):
        answer = await cold.it.call(chat(), wishes(wish))

    assert status == answer.status
    assert (status == 200) == bool(spare.calls)
    if status == 200:
        assert '"small@spare";by=fallback' == answer.headers["x-penstock-route"]


async def test_an_engine_that_is_there_and_fails_is_stood_in_for_whatever_is_wished(engine: Upstream) -> None:
    engine.always = answers(problem("out of memory"), 500)
    async with (
        upstream() as spare,
        cold_pool(config_of(engine, fallback=spare.url), retries=SOON) as cold,
    ):
        await cold.lists("127.0.0.1")
        answer = await cold.it.call(chat(), wishes("fail"))

    assert (200, '"small@spare";by=fallback') == (answer.status, answer.headers["x-penstock-route"])
    assert 1 == len(engine.calls)


async def test_a_prompt_may_not_fall_back_to_where_it_may_not_go(engine: Upstream) -> None:
    async with upstream() as spare:
        config = config_of(engine, fallback=spare.url)
        outside = replace(config.backends["spare"], hosted=True)
        config = replace(config, backends=config.backends | {"spare": outside})
        async with cold_pool(config) as cold:
            refusal(await cold.it.call(chat(), wishes("fallback")), 503, "engine_unavailable")
        assert [] == spare.calls


async def test_a_model_may_have_its_callers_wait(engine: Upstream) -> None:
    async with cold_pool(config_of(engine, cold="hold")) as cold:
        refusal(await cold.it.call(chat(), wishes("fail")), 503, "engine_unavailable")
        waiting = asyncio.create_task(cold.it.call(chat()))
        await cold.lists("127.0.0.1")
        assert 200 == (await waiting).status
