"""Requests that go back to the queue for a while are claimed when their time has come, not only by looks."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from services.adapters.memory.requests import MemoryRequests
from services.dispatcher.waiting import MOST_LATER, Turn, Waiting
from tests.contracts.adapters import START
from tests.services.dispatcher.world import world
from tests.support.client import PATIENCE_S
from tests.support.clock import now
from tests.support.upstream import Upstream, answers
from tests.support.wire import completion, problem, usage

pytestmark = pytest.mark.anyio

ANSWER = answers(completion("Hello.", usage=usage(7, 3)))
ACME: Turn = ("acme", "batch")
OTHER: Turn = ("other", "interactive")


@pytest.mark.parametrize("status", [503, 500])
async def test_a_pause_ends_without_a_look_or_a_bell(tmp_path: Path, engine: Upstream, status: int) -> None:
    engine.will(*[answers(problem(), status, {"retry-after": "0"})] * 2, ANSWER)
    async with world(tmp_path, engine.url, look_every_s=3600) as made:
        name = await made.submit()
        await made.dispatch()
        document = await made.ends(name)

    assert ("completed", 3) == (document.state, document.attempts)


async def test_a_pause_that_is_not_over_is_kept(tmp_path: Path, engine: Upstream) -> None:
    engine.will(answers(problem(), 503, {"retry-after": "3600"}), ANSWER)
    async with world(tmp_path, engine.url, look_every_s=3600) as made:
        name = await made.submit(deadline_s=7200)
        dispatcher = await made.dispatch()
        await engine.call()
        async with asyncio.timeout(PATIENCE_S):
            while dispatcher.running:
                await asyncio.sleep(0.002)
        document = await made.document(name)

        assert ("routed", 1) == (document.state, document.attempts)
        assert document.not_before is not None
        assert document.not_before > now() + timedelta(minutes=59)


def test_who_need_not_wait_waits_now() -> None:
    waiting = Waiting(MemoryRequests(lambda: START))
    waiting.add_later(ACME, None)

    assert (None, [ACME]) == (waiting.next_at, waiting.turns)


def test_whose_time_has_come_waits_now_the_earliest_first() -> None:
    waiting = Waiting(MemoryRequests(lambda: START))
    waiting.add_later(ACME, START + timedelta(seconds=2))
    waiting.add_later(OTHER, START + timedelta(seconds=1))
    waiting.add_later(OTHER, START + timedelta(seconds=1))
    assert (START + timedelta(seconds=1), []) == (waiting.next_at, waiting.turns)

    waiting.come(START + timedelta(seconds=1))
    assert (START + timedelta(seconds=2), [OTHER]) == (waiting.next_at, waiting.turns)
    waiting.come(START + timedelta(seconds=5))
    assert (None, {ACME, OTHER}) == (waiting.next_at, set(waiting.turns))


async def test_a_look_forgets_nobody_who_waits_for_his_time() -> None:
    waiting = Waiting(MemoryRequests(lambda: START))
    waiting.add_later(ACME, START + timedelta(seconds=2))
    await waiting.look(START)

    assert START + timedelta(seconds=2) == waiting.next_at


def test_of_very_many_no_more_are_remembered_than_there_is_room_for() -> None:
    waiting = Waiting(MemoryRequests(lambda: START))
    for number in range(MOST_LATER + 1):
        waiting.add_later((f"t{number}", "batch"), START)
    waiting.come(START)

    assert MOST_LATER == len(waiting.turns)
