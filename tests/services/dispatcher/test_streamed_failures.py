"""Responses in the background whose engine fails, or whose journal is away."""

import asyncio
from pathlib import Path

import pytest

from events.journal import Entry
from events.words import Unavailable
from services.adapters.memory.journal import MemoryJournal
from tests.services.dispatcher.responses import (
    Reader,
    begin,
    followed,
    read,
    said,
    text,
)
from tests.services.dispatcher.world import World, long_ago, world
from tests.support.client import PATIENCE_S
from tests.support.clock import now
from tests.support.upstream import (
    Script,
    Upstream,
    answers,
    closes,
    never_ends,
    streams,
)
from tests.support.wire import completion, delta, event, problem

pytestmark = pytest.mark.anyio


BROKEN: dict[str, Script] = {
    "no stream": answers(completion()),
    "an error in its stream": streams(delta("Half "), event({"error": {"message": "No."}})),
    "an end without an end": streams(delta("Half ")),
    "what cannot be read": streams(b"data: {\n\n"),
    "what is no chat": streams(event({"choices": 5}), *said()),
    "an error": answers(problem(), 500),
    "nothing": closes,
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_what_an_engine_breaks_is_made_again(quick: World, engine: Upstream, broken: Script) -> None:
    engine.will(broken, streams(*said("Whole.")))
    name = await begin(quick)
    await quick.dispatch()
    document = await quick.ends(name)

    assert ("completed", 1) == (document.state, document.failures)
    assert "Whole." == text(await followed(quick, name))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engines_refusal_is_told_in_its_words(quick: World, engine: Upstream, stream: bool) -> None:
    engine.will(answers(problem("Too hot.", code="hot"), 400))
    name = await begin(quick, stream=stream)
    await quick.dispatch()
    await quick.ends(name)
    told = await read(quick, name)

    assert ("failed", {"code": "hot", "message": "Too hot."}) == (told["status"], told["error"])


@pytest.mark.parametrize("body", [b'{"choices": []}', b'{"choices": [{"message": 5}]}'])
async def test_an_answer_that_is_no_chat_is_a_failure(quick: World, engine: Upstream, body: bytes) -> None:
    engine.will(answers(body), answers(completion("Hello.")))
    name = await begin(quick, stream=False)
    await quick.dispatch()
    document = await quick.ends(name)

    assert ("completed", 1) == (document.state, document.failures)
    assert "Hello." == (await read(quick, name))["output"][0]["content"][0]["text"]


class Away(MemoryJournal):
    """A journal that is away for some appends, or takes them without a word."""

    fails = 0
    unheard = 0

    async def append(self, entry: Entry) -> None:
        if self.fails:
            self.fails -= 1
            raise Unavailable("The journal is away.")
        await super().append(entry)
        if self.unheard:
            self.unheard -= 1
            raise Unavailable("The journal says nothing.")

    async def read(self, request: str, place: int, limit: int) -> list[Entry]:
        if self.fails:
            raise Unavailable("The journal is away.")
        return await super().read(request, place, limit)


@pytest.mark.parametrize(("fails", "unheard"), [(2, 0), (0, 2)])
async def test_a_journal_that_is_away_for_a_moment_costs_nothing(
    tmp_path: Path, engine: Upstream, fails: int, unheard: int
) -> None:
    engine.will(streams(*said("Hello.")))
    async with world(tmp_path, engine.url, heartbeat_s=0.01) as made:
        made.journal = journal = Away(now)
        journal.fails, journal.unheard = fails, unheard
        name = await begin(made)
        reader = Reader(made, name)
        await made.dispatch()

        assert "Hello." == text(await reader.all())
        assert 1 == (await made.ends(name)).attempts


class Stuck(MemoryJournal):
    """A journal that takes its time."""

    def __init__(self) -> None:
        super().__init__(now)
        self.free = asyncio.Event()

    async def append(self, entry: Entry) -> None:
        await self.free.wait()
        await super().append(entry)


async def test_an_engine_that_is_faster_than_the_journal_waits(tmp_path: Path, engine: Upstream) -> None:
    engine.will(never_ends(delta("x" * 10_000)))
    async with world(tmp_path, engine.url, journal_every_s=0.001, answer_bytes=2**30) as made:
        made.journal = Stuck()
        name = await begin(made)
        await made.dispatch()
        async with asyncio.timeout(PATIENCE_S):
            while not engine.calls or not engine.calls[0].waits:
                await asyncio.sleep(0.002)

        assert "running" == (await made.document(name)).state


async def test_what_is_over_is_forgotten_by_the_sweep(quick: World, engine: Upstream) -> None:
    engine.will(streams(*said("Hello.")))
    name = await begin(quick)
    dispatcher = await quick.dispatch()
    document = await quick.ends(name)
    kept_entries = await quick.journal.read(name, 0, 10)
    old = Entry(request="req_old", place=0, attempt=1, first=3, next=4, expire_at=long_ago())
    await quick.journal.append(old)
    await quick.sweep(dispatcher)

    assert 0 == await quick.journal.forget(now(), 10)
    assert kept_entries == await quick.journal.read(name, 0, 10)
    assert all(one.expire_at > document.expire_at for one in kept_entries)
