"""Answers that are too large to be kept for their callers."""

from pathlib import Path

import pytest

from tests.services.dispatcher.world import World, world
from tests.support.upstream import Upstream, answers
from tests.support.wire import completion, usage

pytestmark = pytest.mark.anyio


async def test_an_answer_that_is_too_large_ends_its_request_with_what_to_do(
    tmp_path: Path, engine: Upstream
) -> None:
    body = completion("Hello." * 100, usage=usage(7, 3))
    engine.will(answers(body))
    async with world(tmp_path, engine.url, answer_bytes=len(body) - 1) as made:
        name = await made.submit()
        await made.dispatch()
        document = await made.ends(name)
        read = await made.answer(name)
        (completed,) = await made.completions(1)

    assert ("failed", 1, None) == (document.state, document.attempts, read["response"])
    assert "answer_too_large" == read["error"]["code"]
    assert f"{len(body)} bytes" in read["error"]["message"]
    assert ("engine_error", 3, False) == (completed.outcome, completed.usage.output, completed.billed)


async def test_an_answer_the_store_does_not_take_ends_its_request(world: World, engine: Upstream) -> None:
    engine.will(answers(completion("Hello.", usage=usage(7, 3))))
    name = await world.submit()
    world.bodies.largest = 10
    await world.dispatch()
    document = await world.ends(name)
    (completed,) = await world.completions(1)

    assert ("failed", 1) == (document.state, document.attempts)
    assert document.problem is not None
    assert ("unstorable", True) == (document.problem.code, "too large" in document.problem.message)
    assert (3, False) == (completed.usage.output, completed.billed)
