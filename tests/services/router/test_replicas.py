"""A backend of several replicas, some of which cannot be reached: its callers do not notice."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from events.usage import Completed
from services.router.order import Deadlines
from tests.services.router.refusing import refusal
from tests.support.routing import routed
from tests.support.upstream import Call, Upstream, resets, unreachable, upstream
from tests.support.wire import chat

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def refusing(number: int = 1) -> AsyncIterator[list[str]]:
    """The URLs of engines that refuse connections."""
    async with contextlib.AsyncExitStack() as stack:
        dead = [await stack.enter_async_context(upstream()) for _ in range(number)]
        for one in dead:
            await one.refuse()
        yield [one.url for one in dead]


@pytest.mark.parametrize("dead", [1, 3])
async def test_no_call_fails_while_one_replica_can_be_reached(engine: Upstream, dead: int) -> None:
    async with refusing(dead) as urls, routed(*urls, engine.url) as it:
        statuses = {(await it.call(chat())).status for _ in range(10)}
        records = await it.tap.has(20)

    assert {200} == statuses
    assert 10 == len(engine.calls)
    completed = [record for record in records if isinstance(record, Completed)]
    assert 10 == len({record.attempt for record in completed})
    assert {("finished", True)} == {(record.outcome, record.billed) for record in completed}
    assert all(record.attempt.endswith(".1") for record in completed)  # nothing was sent before


async def test_a_replica_that_takes_too_long_to_connect_is_given_up_for_the_next(engine: Upstream) -> None:
    with unreachable() as url:
        async with routed(url, engine.url, deadlines=Deadlines(connect_s=0.1)) as it:
            statuses = {(await it.call(chat())).status for _ in range(4)}

    assert {200} == statuses


async def test_each_replica_is_tried_once_and_then_the_caller_is_told() -> None:
    async with refusing(3) as urls, routed(*urls) as it:
        refusal(await it.call(chat()), 503, "engine_unavailable")
        assert [] == it.tap.records


async def test_replicas_that_all_take_too_long_are_a_timeout() -> None:
    with unreachable() as one, unreachable() as other:
        async with routed(one, other, deadlines=Deadlines(connect_s=0.1)) as it:
            refusal(await it.call(chat()), 504, "connect_timeout")


async def test_a_call_that_was_sent_is_not_sent_to_another_replica(engine: Upstream) -> None:
    async with upstream() as other, routed(engine.url, other.url) as it:
        engine.always = other.always = resets
        refusal(await it.call(chat()), 502, "engine_died")

        assert 1 == len(engine.calls) + len(other.calls)


async def test_a_second_attempt_goes_elsewhere_where_its_replica_is_gone_by_then(engine: Upstream) -> None:
    async with upstream() as other, routed(other.url, engine.url) as it:
        for _ in range(2):  # both have an idle connection
            await it.call(chat())

        async def dies(call: Call) -> None:
            other.accept_no_more()
            call.reset()

        other.will(dies)
        statuses = [(await it.call(chat())).status for _ in range(2)]
        records = await it.tap.has(10)

    assert [200, 200] == statuses
    died = [record for record in records if isinstance(record, Completed) and record.outcome == "engine_died"]
    assert 1 == len(died)
    assert not died[0].billed
    assert f"{died[0].request}.2" in {record.attempt for record in records}
