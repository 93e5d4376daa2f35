"""Answers are admitted to memory as requests are: what cannot be held is refused, and all is given back."""

import asyncio
import gc
import io
import json
from pathlib import Path

import pytest

from events.config import Config
from events.usage import Completed
from services.router.attempt import Attempt
from services.router.exchange import Exchange
from services.router.guarded import Guarded
from services.router.idempotency.recording import Recording
from services.router.idempotency.runs import Asked
from services.router.order import Deadlines
from services.router.watch import Watch, Watched
from services.router.way import Way
from services.telemetry.access import AccessLog, as_text
from services.telemetry.context import Sampler
from services.telemetry.spans import Span, Tracer
from tests.services.router.refusing import refusal
from tests.support import wire
from tests.support.caching import StoredCache
from tests.support.client import Client, connected
from tests.support.guards import redacting
from tests.support.keyed import StoredRuns
from tests.support.platform import eventually
from tests.support.routing import Routed, routed
from tests.support.upstream import Script, Upstream, answers, begins, closes, hangs, says, streams
from tests.support.wire import DONE, chat, completion, delta

pytestmark = pytest.mark.anyio

ROOM = 3000
LARGE = completion("x" * 2 * ROOM)


async def used(it: Routed, size: int) -> None:
    async def is_used() -> bool:
        return it.budget.used == size

    await eventually(is_used)


async def test_an_answer_there_is_no_memory_for_is_refused_and_not_billed(engine: Upstream) -> None:
    engine.will(answers(LARGE))
    async with routed(engine.url, budget=ROOM) as it:
        refusal(await it.call(chat()), 503, "overloaded")
        await engine.calls[0].left()
        _, completed = await it.tap.has(2)
        assert 200 == (await it.call(chat())).status
        await used(it, 0)

    assert isinstance(completed, Completed)
    assert not completed.billed


async def test_an_engines_error_there_is_no_memory_for_is_refused_too(engine: Upstream) -> None:
    engine.will(answers(LARGE, 400))
    async with routed(engine.url, budget=ROOM) as it:
        refusal(await it.call(chat()), 503, "overloaded")
        await used(it, 0)


async def test_an_answer_counts_while_it_comes(engine: Upstream) -> None:
    body = completion()
    engine.will(says(wire.response(body)[:-5], then=hangs))
    async with routed(engine.url) as it, connected(it.port) as client:
        asked = chat()
        await client.send(it.request(asked))
        await used(it, len(asked) + len(body) - 5)
        client.reset()
        await used(it, 0)


async def test_events_that_may_not_be_seen_yet_count_until_they_may(engine: Upstream) -> None:
    engine.will(begins(delta("a"), delta("b")))
    async with routed(engine.url) as it, connected(it.port) as client:
        it.tap.close()
        asked = chat(stream=True)
        await client.send(it.request(asked))
        await used(it, len(asked) + len(delta("a") + delta("b")))
        it.tap.open()
        await client.head()
        await used(it, len(asked))


async def test_more_events_than_there_is_memory_for_are_refused_while_none_may_be_seen(
    engine: Upstream,
) -> None:
    engine.will(streams(delta("a"), delta("x" * ROOM), DONE))
    async with routed(engine.url, budget=ROOM) as it, connected(it.port) as client:
        it.tap.close()
        await client.send(it.request(chat(stream=True)))

        refusal(await client.response(), 503, "overloaded")
        await used(it, 0)


async def test_an_event_there_is_no_memory_for_ends_its_stream_in_band(engine: Upstream) -> None:
    engine.will(begins(delta("a"), b"data: " + b"x" * 2 * ROOM))
    async with routed(engine.url, budget=ROOM) as it:
        told = wire.events_of((await it.call(chat(stream=True))).body)
        await used(it, 0)

    assert "a" == told[0]["choices"][0]["delta"]["content"]
    assert "overloaded" == told[-1]["error"]["code"]


ENDS: dict[str, Script] = {
    "a whole stream": streams(delta("a"), delta("b")[:9], delta("b")[9:], DONE),
    "half an event": begins(delta("a"), delta("b")[:9], then=closes),
    "half an answer": says(wire.response(completion())[:-5], then=closes),
    "nonsense": answers(b"nonsense"),
    "an error": answers(wire.problem(), 500),
    "an error in a stream": streams(delta("a"), wire.event({"error": {"message": "No."}})),
    "silence": begins(delta("a")),
}


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "not durable"])
async def test_memory_is_given_back_however_it_ends(engine: Upstream, durable: bool) -> None:
    engine.will(*ENDS.values())
    async with routed(engine.url, deadlines=Deadlines(total_s=0.3)) as it:
        if not durable:
            it.tap.close()
        await asyncio.gather(*(it.call(chat(stream=True)) for _ in ENDS))
        await used(it, 0)


@pytest.mark.parametrize("leave", [Client.close, Client.reset])
async def test_memory_is_given_back_where_a_client_leaves(engine: Upstream, leave: object) -> None:
    engine.will(begins(delta("a"), delta("b")[:9]))
    async with routed(engine.url) as it, connected(it.port) as client:
        it.tap.close()
        await client.send(it.request(chat(stream=True)))
        call = await engine.call()
        assert callable(leave)
        leave(client)
        await call.left()
        await used(it, 0)


async def test_a_large_answer_passes_whole(engine: Upstream) -> None:
    body = completion("x" * 5 * 2**20)
    engine.will(answers(body))
    async with routed(engine.url, budget=8 * 2**20) as it:
        assert json.loads(body) == (await it.call(chat())).json
        await used(it, 0)


CALLS: dict[str, tuple[Script, bool]] = {
    "whole": (answers(completion()), False),
    "streamed": (streams(delta("a"), DONE), True),
    "cut": (begins(delta("a"), then=closes), True),
    "refused": (answers(completion(), 400), False),
    "busy": (answers(completion(), 503), False),
    "closed": (closes, False),
}


async def nothing_left() -> bool:
    kinds = Exchange | Attempt | Way | Watched | Guarded | Recording | Asked
    return not any(isinstance(one, kinds) for one in gc.get_objects())


@pytest.mark.parametrize(("script", "stream"), CALLS.values(), ids=CALLS)
async def test_what_a_request_took_is_freed_without_the_garbage_collector(
    engine: Upstream, script: Script, stream: bool
) -> None:
    """Looking for circles cost a sixteenth of a router's processor time."""
    engine.always = script
    lines, spans = AccessLog(as_text, io.BytesIO()), list[Span]()
    config = Config(backends={}, models={})
    watch = Watch(Sampler(ratio=1.0), Tracer(spans.append), lines, config=lambda: config)
    gc.collect()
    gc.disable()
    try:
        for watched in (None, watch):
            async with routed(engine.url, watch=watched) as it:
                await it.call(chat(stream=stream))
                await eventually(nothing_left)
    finally:
        gc.enable()
        await lines.close()
    assert spans


@pytest.mark.parametrize(("script", "stream"), CALLS.values(), ids=CALLS)
async def test_also_where_all_is_asked_for_at_once(
    engine: Upstream, tmp_path: Path, script: Script, stream: bool
) -> None:
    engine.always = script
    keyed, stored = StoredRuns(folder=tmp_path), StoredCache(folder=tmp_path)
    config = Config(backends={}, models={})
    watch = Watch(Sampler(ratio=1.0), Tracer(list[Span]().append), None, config=lambda: config)
    headers = {"idempotency-key": "order-17", "x-penstock-cold": "hold"}
    gc.collect()
    gc.disable()
    try:
        async with routed(engine.url, watch=watch, guard=redacting("Hel"), keyed=keyed, stored=stored) as it:
            await it.call(chat(stream=stream), headers)
            await eventually(nothing_left)
            assert (0, 0) == (it.budget.used, it.exchanges.retrying)
    finally:
        gc.enable()
