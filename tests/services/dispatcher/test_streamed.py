"""Streamed responses in the background: what is journalled of them, and what readers make of it."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from events.journal import LARGEST_ENTRY
from events.words import Invalid
from services.responses.names import response_id
from services.router.responses.tail import Tail
from tests.services.dispatcher.responses import (
    Reader,
    begin,
    followed,
    kept,
    numbers,
    read,
    refused,
    said,
    text,
)
from tests.services.dispatcher.world import World, world
from tests.support.client import PATIENCE_S
from tests.support.upstream import (
    Call,
    Script,
    Upstream,
    begins,
    closes,
    hangs,
    says,
    streams,
    waits_for,
)
from tests.support.wire import chunk, delta

pytestmark = pytest.mark.anyio

LAST = "response.completed"
DELTA = "response.output_text.delta"


def says_then(*events: bytes, after: asyncio.Event, then: Script) -> Script:
    """A stream that goes on after a signal."""
    return begins(*events, then=waits_for(after, then))


def more(*events: bytes) -> Script:
    """The rest of a stream that began."""

    async def script(call: Call) -> None:
        await call.send(*map(chunk, events))
        await hangs(call)

    return script


async def test_what_is_told_is_journalled_and_billed(quick: World, engine: Upstream) -> None:
    engine.will(streams(*said("Hel", "lo.")))
    name = await begin(quick)
    await quick.dispatch()
    events = await followed(quick, name)
    (completed,) = await quick.completions(1)

    assert "Hello." == text(events) == (await read(quick, name))["output"][0]["content"][0]["text"]
    assert list(range(len(events))) == numbers(events)
    assert LAST == events[-1]["type"]
    assert await read(quick, name) == events[-1]["response"]
    assert (7, 2, True, None) == (
        completed.usage.input,
        completed.usage.output,
        completed.billed,
        completed.estimated,
    )


async def test_its_rest_is_the_same_from_every_number_wherever_it_is_read(
    quick: World, engine: Upstream
) -> None:
    go_on = asyncio.Event()
    tail = (*map(chunk, said("lo", ".")), b"0\r\n\r\n")
    engine.will(says_then(delta("Hel"), after=go_on, then=says(*tail)))
    name = await begin(quick)
    await quick.dispatch()
    here, elsewhere = Reader(quick, name), Reader(quick, name, elsewhere=True)
    await here.has(DELTA)
    await elsewhere.has(DELTA)
    go_on.set()
    events = await here.all()

    assert events == await elsewhere.all()
    assert "Hello." == text(events)
    for at, number in enumerate(numbers(events)):
        assert events[at + 1 :] == await followed(quick, name, number)
    assert await refused(quick, name, len(events)) is not None


async def test_a_reader_that_leaves_stops_nothing(quick: World, engine: Upstream) -> None:
    go_on = asyncio.Event()
    tail = (*map(chunk, said("lo.")), b"0\r\n\r\n")
    engine.will(says_then(delta("Hel"), after=go_on, then=says(*tail)))
    name = await begin(quick)
    await quick.dispatch()
    reader = Reader(quick, name)
    await reader.has(DELTA)
    reader.leave()
    go_on.set()

    assert "completed" == (await quick.ends(name)).state
    assert "Hello." == text(await followed(quick, name))


async def test_two_attempts_are_never_told_as_one_answer(quick: World, engine: Upstream) -> None:
    die = asyncio.Event()
    engine.will(says_then(delta("Half "), after=die, then=closes), streams(*said("Whole.")))
    name = await begin(quick)
    await quick.dispatch()
    reader = Reader(quick, name)
    await reader.has(DELTA)
    seen = numbers(reader.events)[-1]
    die.set()
    first = await reader.all()
    second = await followed(quick, name)

    assert ("error", "answer_begun_again") == (first[-1]["type"], first[-1]["code"])
    assert seen == first[-1]["sequence_number"]
    assert "Half " == text(first)
    assert "Whole." == text(second)
    assert LAST == second[-1]["type"]
    assert sorted(set(numbers(second))) == numbers(second)
    assert not set(numbers(first)[3:]) & set(numbers(second))
    for number in numbers(first)[3:]:  # those of the dead attempt lead nowhere else
        assert first[-1:] == [one | {"sequence_number": seen} for one in await followed(quick, name, number)]
    for number in (0, 1, 2):  # and who saw none of it reads on
        assert second[number + 1 :] == await followed(quick, name, number)


async def test_who_lost_its_claim_journals_nothing_more(quick: World, engine: Upstream) -> None:
    old, new = asyncio.Event(), asyncio.Event()
    engine.will(
        says_then(delta("Old "), after=old, then=more(delta("news."))),
        says_then(delta("New "), after=new, then=says(*map(chunk, said("answer.")), b"0\r\n\r\n")),
    )
    name = await begin(quick)
    await quick.dispatch("d1")
    reader = Reader(quick, name)
    await reader.has(DELTA)
    await quick.change(name, state="routed", claim=None)  # it is thought dead
    await quick.dispatch("d2")
    later = Reader(quick, name)
    await later.has(DELTA)
    old.set()
    await engine.calls[0].left()
    new.set()

    assert "New answer." == text(await later.all())
    assert "Old " == text(await reader.all())
    assert 2 == (await quick.ends(name)).attempts
    assert [1, 2] == sorted({one.attempt for one in await quick.journal.read(name, 0, 100)})


async def test_a_cancelled_response_stops_its_engine_and_ends_the_same_for_all(
    quick: World, engine: Upstream
) -> None:
    go_on = asyncio.Event()
    engine.will(says_then(delta("Half "), delta("an "), after=go_on, then=more(delta("answer."))))
    name = await begin(quick)
    await quick.dispatch()
    reader = Reader(quick, name)
    await reader.has(DELTA, 2)
    cancelled = await kept(quick).cancel("acme", response_id(name))
    events = await reader.all()
    go_on.set()
    await engine.calls[0].left()
    (completed,) = await quick.completions(1)

    assert cancelled is not None
    assert "cancelled" == (await read(quick, name))["status"]
    assert ("response.failed", "cancelled") == (events[-1]["type"], events[-1]["response"]["status"])
    assert list(range(len(events))) == numbers(events)
    for at, number in enumerate(numbers(events)):
        assert events[at + 1 :] == await followed(quick, name, number)
    assert ("cancelled", True, 2) <= (completed.outcome, completed.billed, completed.usage.output)


async def test_before_it_is_run_it_can_be_followed_and_cancelled(quick: World) -> None:
    name = await begin(quick)
    reader = Reader(quick, name, elsewhere=True)
    await reader.has("response.queued")
    await kept(quick).cancel("acme", response_id(name))
    events = await reader.all()

    assert ["response.created", "response.queued", "response.failed"] == [one["type"] for one in events]
    assert [0, 1, 2] == numbers(events)
    assert events[2:] == await followed(quick, name, 1)
    assert [] == await followed(quick, name, 2)


async def test_who_waits_long_is_kept_alive(quick: World) -> None:
    document = await kept(quick).find("acme", response_id(await begin(quick)))
    assert document is not None
    tail = Tail(kept(quick), quick.waiters, document, -1, keep_alive_s=0.001)
    told = tail.events()

    async with asyncio.timeout(PATIENCE_S):
        while not (await anext(told)).startswith(b": "):
            pass
    await told.aclose()
    assert 0 == quick.waiters.count


async def test_who_follows_waits_for_a_store_that_is_away(quick: World) -> None:
    name = await begin(quick)
    reader = Reader(quick, name)
    await reader.has("response.queued")
    quick.requests.away = True
    quick.waiters.ring(name)
    await asyncio.sleep(0.01)
    quick.requests.away = False
    await kept(quick).cancel("acme", response_id(name))

    assert "response.failed" == (await reader.all())[-1]["type"]


async def test_what_expires_has_failed(quick: World) -> None:
    name = await begin(quick, deadline_s=0.01)
    reader = Reader(quick, name)
    await asyncio.sleep(0.02)
    await quick.sweep(await quick.dispatch())
    events = await reader.all()

    assert ("failed", "request_expired") == (
        events[-1]["response"]["status"],
        events[-1]["response"]["error"]["code"],
    )
    assert events[-1]["response"] == await read(quick, name)


async def test_what_is_deleted_while_it_is_followed(quick: World, engine: Upstream) -> None:
    engine.will(begins(delta("Half ")))
    name = await begin(quick)
    await quick.dispatch()
    reader = Reader(quick, name, elsewhere=True)
    await reader.has(DELTA)
    assert await kept(quick).delete("acme", response_id(name))
    last = (await reader.all())[-1]

    assert ("error", "response_not_found") == (last["type"], last["code"])
    assert await kept(quick).find("acme", response_id(name)) is None
    assert not await kept(quick).delete("acme", response_id(name))
    assert [] == await quick.journal.read(name, 0, 10)
    assert await quick.bodies.get(f"{name}-prompt") is None


async def test_a_piece_larger_than_an_entry_lies_apart(quick: World, engine: Upstream) -> None:
    long = "ä" * LARGEST_ENTRY
    engine.will(streams(*said("Short. ", long)))
    name = await begin(quick)
    await quick.dispatch()

    assert "Short. " + long == text(await followed(quick, name))
    assert "Short. " + long == (await read(quick, name))["output"][0]["content"][0]["text"]
    assert any(one.body_id for one in await quick.journal.read(name, 0, 100))
    assert all(len(one.sealed) <= LARGEST_ENTRY for one in await quick.journal.read(name, 0, 100))


async def test_what_is_journalled_is_sealed_for_its_place(quick: World, engine: Upstream) -> None:
    engine.will(streams(*said("Secret.")))
    name = await begin(quick)
    await quick.dispatch()
    await followed(quick, name)
    entries = await quick.journal.read(name, 0, 100)

    assert all(b"Secret" not in one.sealed for one in entries)
    with pytest.raises(Invalid):
        await kept(quick).events(replace(entries[0], place=7), await quick.document(name))


async def test_events_are_gathered_for_a_while_or_for_some_bytes(tmp_path: Path, engine: Upstream) -> None:
    engine.will(streams(*said(*["word "] * 300)))
    async with world(tmp_path, engine.url, journal_every_s=60.0, journal_bytes=20_000) as made:
        name = await begin(made)
        await made.dispatch()
        events = await followed(made, name)
        entries = await made.journal.read(name, 0, 1000)

    assert "word " * 300 == text(events)
    assert 1 < len(entries) < 30
    assert [False] * (len(entries) - 1) + [True] == [one.closed for one in entries]


async def test_an_answer_too_large_is_refused_and_not_made_again(tmp_path: Path, engine: Upstream) -> None:
    engine.will(begins(*[delta("x" * 1_000)] * 8))
    async with world(tmp_path, engine.url, answer_bytes=5_000) as made:
        name = await begin(made)
        await made.dispatch()
        events = await followed(made, name)

    assert 1 == len(engine.calls)
    assert ("response.failed", "answer_too_large") == (
        events[-1]["type"],
        events[-1]["response"]["error"]["code"],
    )


async def test_what_only_just_fits_as_text_may_be_too_large_as_a_response(
    tmp_path: Path, engine: Upstream
) -> None:
    engine.will(streams(*said("x" * 4_900)))
    async with world(tmp_path, engine.url, answer_bytes=5_000) as made:
        name = await begin(made)
        await made.dispatch()
        events = await followed(made, name)

    assert "answer_too_large" == events[-1]["response"]["error"]["code"]
