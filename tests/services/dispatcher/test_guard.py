"""A guard on queued requests: blocked prompts fail, answers are kept as released, a guard that is away is
waited for.
"""

from pathlib import Path
from typing import Any

import pytest

from events.words import Usage
from services.guarding.guard import Allowed
from services.guarding.guard import Prompt as GuardedPrompt
from tests.services.dispatcher.world import World, world
from tests.support.guards import REDACTED, Failing, TestGuard, blocking, redacting
from tests.support.upstream import Upstream, answers
from tests.support.wire import chat, completion, usage

pytestmark = pytest.mark.anyio

WORD = "secret"
ANSWER = answers(completion(f"a {WORD} b", usage=usage(7, 3)))


async def run(world: World, guard: Any, text: str = "Hi.") -> Any:
    """A request's end, as its caller reads it."""
    world.guard = guard
    name = await world.submit(text)
    await world.dispatch()
    await world.ends(name)
    return await world.answer(name)


async def test_a_blocked_prompt_fails_at_once_and_costs_nothing(world: World, engine: Upstream) -> None:
    guard = blocking(WORD)
    read = await run(world, guard, f"the {WORD}")

    assert ("failed", "content_filter") == (read["status"], read["error"]["code"])
    assert WORD not in read["error"]["message"]
    assert [] == engine.calls
    assert [] == world.said.records()
    (prompt,) = guard.prompts
    assert ("acme", "gemma", "/v1/chat/completions", chat(f"the {WORD}")) == (
        prompt.tenant,
        prompt.model,
        prompt.endpoint,
        prompt.body,
    )


async def test_an_answer_is_kept_as_it_was_released(world: World, engine: Upstream) -> None:
    engine.will(ANSWER)
    read = await run(world, redacting(WORD))
    (completed,) = await world.completions(1)

    assert f"a {REDACTED} b" == read["response"]["body"]["choices"][0]["message"]["content"]
    assert ("finished", Usage(input=7, output=3)) == (completed.outcome, completed.usage)


async def test_a_blocked_answer_says_so_and_is_billed(world: World, engine: Upstream) -> None:
    engine.will(ANSWER)
    read = await run(world, blocking(WORD))
    (completed,) = await world.completions(1)
    (choice,) = read["response"]["body"]["choices"]

    assert ("completed", "a ", "content_filter") == (
        read["status"],
        choice["message"]["content"],
        choice["finish_reason"],
    )
    assert completed.billed


class Away:
    """Fails so often."""

    def __init__(self, times: int) -> None:
        self._left = times

    async def judge(self, prompt: GuardedPrompt) -> Allowed:
        self._left -= 1
        if self._left >= 0:
            raise OSError("no connection")
        return Allowed()


async def test_a_guard_that_is_away_is_waited_for(tmp_path: Path, engine: Upstream) -> None:
    engine.will(ANSWER)
    async with world(tmp_path, engine.url, failures=1) as made:
        read = await run(made, Away(2))

    assert "completed" == read["status"]
    assert 1 == len(engine.calls)


async def test_an_answer_a_guard_fails_on_is_kept_nowhere_and_tried_again_so_often(
    tmp_path: Path, engine: Upstream
) -> None:
    engine.will(ANSWER, ANSWER)
    async with world(tmp_path, engine.url, failures=2) as made:
        read = await run(made, TestGuard(watch=Failing))
        completions = await made.completions(2)

    assert ("failed", "guard_unavailable") == (read["status"], read["error"]["code"])
    assert [("blocked", False)] * 2 == [(one.outcome, one.billed) for one in completions]
    assert 2 == len(engine.calls)
