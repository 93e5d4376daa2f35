"""Runs on stores that may be away or slow: what is kept, when, and what is not."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from events.usage import Completed, Started, UsageRecord
from tests.services.router.idempotency.asking import KEY, STREAM, ask, none_under_way, said, the_call
from tests.support import client
from tests.support.keyed import QUICK, StoredRuns
from tests.support.routing import Routed, routed
from tests.support.upstream import Upstream, answers, begins, closes, streams
from tests.support.wire import DONE, chat, completion, delta, problem

pytestmark = pytest.mark.anyio


def completed(records: Sequence[UsageRecord]) -> list[str]:
    """Whose calls' ends are recorded, in their order."""
    keyed = {record.attempt: record.queued for record in records if isinstance(record, Started)}
    ends = [record.attempt for record in records if isinstance(record, Completed)]
    return ["with a key" if keyed[attempt] else "without a key" for attempt in ends]


# --- what is kept, and when


async def test_an_answer_is_given_only_once_it_is_stored(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    keyed.bodies.door.clear()
    async with client.connected(router.port) as caller:
        await caller.send(router.request(chat(), KEY))
        await keyed.bodies.asked.wait()
        assert await caller.is_told_nothing()
        keyed.bodies.door.set()
        assert completion() == (await caller.response()).body


async def test_the_last_event_of_a_stream_is_given_only_once_it_is_stored(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    engine.will(streams(*STREAM))
    keyed.bodies.door.clear()
    async with client.connected(router.port) as caller:
        await caller.send(router.request(chat(stream=True), KEY))
        await caller.head()
        told = b""
        while not told.endswith(STREAM[1]):
            told += await caller.chunk()
        await keyed.bodies.asked.wait()
        assert await caller.is_told_nothing()
        keyed.bodies.door.set()
        while piece := await caller.chunk():
            told += piece

    assert b"".join(STREAM) == told


async def test_an_answer_is_billed_only_once_it_is_stored(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    keyed.bodies.door.clear()
    asked = asyncio.create_task(ask(router))
    await keyed.bodies.asked.wait()
    await router.call(chat())
    before = completed(await router.tap.has(3))
    keyed.bodies.door.set()
    await asked

    assert ["without a key"] == before
    assert ["without a key", "with a key"] == completed(await router.tap.has(4))


async def test_what_was_told_of_a_stream_that_broke_off_is_billed_too(
    router: Routed, engine: Upstream
) -> None:
    engine.will(begins(delta("Hel"), then=closes))
    await ask(router, stream=True)
    (_, ended) = await router.tap.has(2)

    assert isinstance(ended, Completed)
    assert ("engine_died", True) == (ended.outcome, ended.billed)


async def test_nothing_of_key_or_answer_is_stored_in_clear(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    await ask(router)
    (sealed,) = keyed.bodies.puts
    stored = repr(the_call(keyed))

    assert b"Hello" not in sealed
    assert "order-17" not in stored
    assert "acme" in stored


async def test_a_call_with_a_key_costs_two_writes_and_one_without_none(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    await router.call(chat())
    assert 0 == keyed.calls.writes
    await ask(router)
    assert 2 == keyed.calls.writes


async def test_a_key_is_free_again_after_its_time(engine: Upstream, tmp_path: Path) -> None:
    keyed = StoredRuns(folder=tmp_path, patience=replace(QUICK, keep_s=0.05))
    async with routed(engine.url, keyed=keyed) as router:
        first = await ask(router)
        await asyncio.sleep(0.06)
        second = await ask(router, "Something else.")

    assert (200, 200) == (first.status, second.status)
    assert 2 == len(engine.calls)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_too_large_to_be_kept_is_given_and_not_made_again(
    engine: Upstream, keyed: StoredRuns, stream: bool
) -> None:
    large = "x" * 4_000_000
    pieces = (delta(large), delta(large), DONE)
    engine.will(streams(*pieces) if stream else answers(completion(large * 2)))
    async with routed(engine.url, keyed=keyed, budget=2**26) as router:
        first, second = await ask(router, stream=stream), await ask(router, stream=stream)
        await none_under_way(router)
        assert 0 == router.budget.used

    assert (b"".join(pieces) if stream else completion(large * 2)) == first.body
    assert (410, "idempotency_result_not_kept") == said(second)
    assert "false" == second.headers["x-should-retry"]
    assert 1 == len(engine.calls)


async def test_a_stream_there_is_no_room_to_note_is_given_and_not_made_again(
    engine: Upstream, keyed: StoredRuns
) -> None:
    pieces = tuple(delta("x" * 30_000) for _ in range(40))
    engine.will(streams(*pieces, DONE))
    async with routed(engine.url, keyed=keyed, budget=300_000) as router:
        first, second = await ask(router, stream=True), await ask(router, stream=True)
        await none_under_way(router)
        assert 0 == router.budget.used

    assert b"".join((*pieces, DONE)) == first.body
    assert (410, "idempotency_result_not_kept") == said(second)


async def test_what_a_run_held_is_given_back(router: Routed, engine: Upstream) -> None:
    engine.will(streams(*STREAM), answers(), answers(problem(), 500))
    for number, stream in enumerate((True, False, False)):
        await ask(router, key=f"k{number}", stream=stream)
    await none_under_way(router)

    assert 0 == router.budget.used


# --- what is not kept


async def test_an_engines_error_leaves_the_key_free(router: Routed, engine: Upstream) -> None:
    engine.will(answers(problem(), 500), answers(problem(), 429), answers())
    told = [await ask(router) for _ in range(4)]

    assert [502, 429, 200, 200] == [one.status for one in told]
    assert [False, False, False, True] == ["idempotent-replayed" in one.headers for one in told]
    assert 3 == len(engine.calls)


async def test_a_refusal_leaves_the_key_free_for_a_mended_call(router: Routed, engine: Upstream) -> None:
    refused = await router.call(b'{"model": "gemma", "messages": []}', KEY)
    mended = await ask(router)

    assert (400, 200) == (refused.status, mended.status)


async def test_a_stream_that_broke_off_leaves_the_key_free(router: Routed, engine: Upstream) -> None:
    engine.will(begins(delta("Hel"), then=closes), streams(*STREAM))
    broken, whole = await ask(router, stream=True), await ask(router, stream=True)

    assert b"engine_died" in broken.body
    assert b"".join(STREAM) == whole.body
    assert 2 == len(engine.calls)


# --- stores that are away


async def test_while_the_store_is_away_nothing_is_dispatched(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    keyed.calls.away = True
    refused, plain = await ask(router), await router.call(chat())
    keyed.calls.away = False
    again = await ask(router)

    assert (503, "idempotency_unavailable") == said(refused)
    assert "1" == refused.headers["retry-after"]
    assert (200, 200) == (plain.status, again.status)
    assert 2 == len(engine.calls)


async def test_a_result_that_cannot_be_stored_at_once_is_stored_again(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    keyed.bodies.failures = 2
    first, second = await ask(router), await ask(router)

    assert (200, first.body, "true") == (second.status, second.body, second.headers["idempotent-replayed"])
    assert 1 == len(engine.calls)


async def test_an_answer_is_given_though_it_cannot_be_stored_at_all(
    router: Routed, engine: Upstream, keyed: StoredRuns
) -> None:
    keyed.bodies.failures = 100
    assert 200 == (await ask(router)).status
    keyed.bodies.failures = 0

    assert 200 == (await ask(router)).status  # by the same process, which knows that it runs no longer
    assert 2 == len(engine.calls)
