"""Requests that wait for an engine: how they are let go, and how else they may end."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from openai import APIError, AsyncOpenAI

from events.usage import Completed
from services.router.order import Deadlines
from tests.services.router.cold.pool import HOLD, ColdPool, cold_pool, config_of
from tests.services.router.refusing import refusal
from tests.support import wire
from tests.support.client import PATIENCE_S, Response, connected
from tests.support.routing import Routed, routed
from tests.support.upstream import Upstream, streams, upstream, waits_for
from tests.support.upstream import answers as answers_with
from tests.support.wire import DONE, MODEL, chat, delta, event, events_of, text_of

pytestmark = pytest.mark.anyio

STREAM = streams(delta("Hel"), delta("lo."), DONE)


@pytest.fixture
async def cold(engine: Upstream) -> AsyncIterator[ColdPool]:
    async with cold_pool(config_of(engine), deadlines=Deadlines(commit_after_s=0.05)) as made:
        yield made


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.005)


async def wait_for_it(it: Routed, calls: int = 1) -> list["asyncio.Task[Response]"]:
    """So many calls that wait, once they all do."""
    tasks = [asyncio.create_task(it.call(chat(), HOLD)) for _ in range(calls)]
    await until(lambda: it.room.waiting == calls)
    return tasks


async def test_a_request_is_answered_once_there_is_an_engine(cold: ColdPool, engine: Upstream) -> None:
    (waiting,) = await wait_for_it(cold.it)
    assert [] == cold.it.tap.records
    await cold.lists("127.0.0.1")
    answer = await waiting
    records = await cold.it.tap.has(2)

    assert (200, 0, 0) == (answer.status, cold.it.room.waiting, cold.it.budget.used)
    assert 1 == len(engine.calls)
    billed = [record for record in records if isinstance(record, Completed) and record.billed]
    assert [f"{answer.headers['x-request-id']}.1"] == [record.attempt for record in billed]
    assert "x-penstock-attempts" not in answer.headers


async def test_a_stream_is_kept_alive_meanwhile(cold: ColdPool, engine: Upstream) -> None:
    engine.always = STREAM
    async with connected(cold.it.port) as connection:
        await connection.send(cold.it.request(chat(stream=True), HOLD))
        head = await connection.head()
        assert (200, f'"{MODEL}@pool";cold=hold') == (head.status, head.headers["x-penstock-route"])
        assert [b": keep-alive\n\n"] * 2 == [await connection.chunk() for _ in range(2)]
        await cold.lists("127.0.0.1")
        told = b""
        while piece := await connection.chunk():
            told += piece

    assert "Hello." == text_of(told.replace(b": keep-alive\n\n", b""))


def client_of(it: Routed) -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url=f"http://127.0.0.1:{it.port}/v1", api_key=it.key, max_retries=0, default_headers=HOLD
    )


async def test_the_official_client_reads_on_as_if_nothing_was(cold: ColdPool, engine: Upstream) -> None:
    engine.always = STREAM

    async def comes() -> None:
        await until(lambda: cold.it.room.waiting)
        await asyncio.sleep(0.3)  # some comments long
        await cold.lists("127.0.0.1")

    async with client_of(cold.it) as client, asyncio.TaskGroup() as group:
        group.create_task(comes())
        stream = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Hi."}], stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]

    assert "Hello." == "".join(pieces)


async def test_whoever_waited_long_enough_is_told_when_to_come_back(engine: Upstream) -> None:
    async with cold_pool(config_of(engine), deadlines=Deadlines(total_s=0.1)) as cold:
        answer = await cold.it.call(chat(), HOLD)
        refusal(answer, 503, "engine_unavailable")
        assert 89 <= int(answer.headers["retry-after"]) <= 90
        assert ([], 0, 0) == (cold.it.tap.records, cold.it.room.waiting, cold.it.budget.used)


async def test_a_stream_is_told_by_its_last_event(engine: Upstream) -> None:
    limits = Deadlines(total_s=0.4, commit_after_s=0.05)
    async with cold_pool(config_of(engine), deadlines=limits) as cold:
        answer = await cold.it.call(chat(stream=True), HOLD)
        async with client_of(cold.it) as client:
            with pytest.raises(APIError, match="no engine right now"):
                async for _ in await client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": "Hi."}], stream=True
                ):
                    pass

    assert 200 == answer.status
    assert "engine_unavailable" == events_of(answer.body)[-1]["error"]["code"]


async def test_a_client_that_leaves_costs_nothing_more(cold: ColdPool, engine: Upstream) -> None:
    async with connected(cold.it.port) as connection:
        await connection.send(cold.it.request(chat(), HOLD))
        await until(lambda: cold.it.room.waiting == 1)
    await until(lambda: not cold.it.exchanges.open)
    await cold.lists("127.0.0.1")
    cold.it.room.look()

    assert (0, 0, []) == (cold.it.room.waiting, cold.it.budget.used, cold.it.tap.records)
    assert [] == engine.calls


async def test_who_waits_is_let_go_as_slots_come_free(engine: Upstream) -> None:
    go, most = asyncio.Event(), 0
    engine.always = waits_for(go, answers_with())
    async with cold_pool(config_of(engine, slots=2)) as cold:
        waiting = await wait_for_it(cold.it, 7)
        await cold.lists("127.0.0.1")
        await engine.call(2)
        for _ in range(3):
            cold.it.room.look()
        (replica,) = cold.it.pool.replicas("pool")
        assert (2, 5) == (replica.in_flight, cold.it.room.waiting)
        go.set()
        while not all(one.done() for one in waiting):
            most = max(most, replica.in_flight)
            await asyncio.sleep(0)
        statuses = {(await one).status for one in waiting}

    assert ({200}, 7) == (statuses, len(engine.calls))
    assert most <= 2


async def test_the_concurrency_of_a_model_is_its_number_of_slots(engine: Upstream) -> None:
    engine.always = waits_for(asyncio.Event(), answers_with())
    async with cold_pool(config_of(engine, slots=1, concurrency=3)) as cold:
        waiting = await wait_for_it(cold.it, 5)
        await cold.lists("127.0.0.1")
        await engine.call(3)
        cold.it.room.look()
        assert 2 == cold.it.room.waiting
        for one in waiting:
            one.cancel()


async def test_an_engine_that_is_listed_and_refuses_is_waited_for(engine: Upstream, cold: ColdPool) -> None:
    await engine.refuse()
    (waiting,) = await wait_for_it(cold.it)
    await cold.lists("127.0.0.1")
    (replica,) = cold.it.pool.replicas("pool")
    await until(lambda: replica.aside_until and cold.it.room.waiting)
    await engine.listen()
    cold.it.room.look()
    assert 1 == cold.it.room.waiting  # its time for a trial has not come
    replica.aside_until = replica.now()
    answer = await waiting

    assert (200, 1) == (answer.status, len(engine.calls))


async def test_an_engine_of_a_list_that_refuses_is_waited_for_from_the_first_call(engine: Upstream) -> None:
    await engine.refuse()
    async with routed(engine.url) as it:
        waiting = await wait_for_it(it, 3)
        (replica,) = it.pool.replicas("pool")
        await engine.listen()
        replica.aside_until = replica.now()
        it.room.look()
        assert 2 == it.room.waiting  # one is the trial
        statuses = {(await one).status for one in waiting}
        await it.tap.has(6)

    assert ({200}, 3) == (statuses, len(engine.calls))


async def test_who_waits_is_not_stood_in_for(engine: Upstream) -> None:
    async with upstream() as spare, cold_pool(config_of(engine, fallback=spare.url)) as cold:
        (waiting,) = await wait_for_it(cold.it)
        await cold.lists("127.0.0.1")
        answer = await waiting
        assert (200, []) == (answer.status, spare.calls)


async def test_where_there_is_no_room_to_wait_that_is_told(engine: Upstream) -> None:
    async with cold_pool(config_of(engine), budget=20_000) as cold:
        await wait_for_it(cold.it, 2)
        refusal(await cold.it.call(chat(), HOLD), 503, "overloaded")
        assert 2 == cold.it.room.waiting


async def test_a_process_that_stops_tells_who_waits(cold: ColdPool) -> None:
    (waiting,) = await wait_for_it(cold.it)
    await cold.it.exchanges.drain(0)

    refusal(await waiting, 503, "shutting_down")
    assert 0 == cold.it.room.waiting


async def test_an_engine_that_fails_once_it_is_there_is_an_error(cold: ColdPool, engine: Upstream) -> None:
    engine.always = streams(event({"error": {"message": "No."}}))
    async with connected(cold.it.port) as connection:
        await connection.send(cold.it.request(chat(stream=True), HOLD))
        await connection.head()
        await cold.lists("127.0.0.1")
        told = b""
        while piece := await connection.chunk():
            told += piece

    assert "engine_error" == events_of(told)[-1]["error"]["code"]
    assert wire.DONE not in told
