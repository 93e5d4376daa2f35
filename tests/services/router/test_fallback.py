"""Where no engine of a model answers, the next place of its plan does, and bill and headers say so."""

from pathlib import Path

import pytest

from events.config import Backend, Candidate, Config, Model
from events.usage import Completed
from tests.services.router.test_retries import SOON
from tests.support.caching import StoredCache
from tests.support.routing import Routed, routed
from tests.support.upstream import Script, Upstream, answers, closes, upstream
from tests.support.wire import MODEL, chat, problem

pytestmark = pytest.mark.anyio


def fallback(first: str, second: str) -> Config:
    """Two backends; the model of the second one answers where the first one does not."""
    return Config(
        backends={"pool": Backend(replicas=(first,)), "spare": Backend(replicas=(second,))},
        models={
            MODEL: Model(backend="pool", fallback=("small",)),
            "small": Model(backend="spare", served_as="small-q4"),
        },
    )


def billed(it: Routed) -> list[Completed]:
    return [record for record in it.tap.records if isinstance(record, Completed) and record.billed]


@pytest.mark.parametrize("script", [closes, answers(problem("out of memory"), 500)], ids=["dies", "fails"])
async def test_a_model_whose_engine_fails_is_stood_in_for(engine: Upstream, script: Script) -> None:
    engine.always = script
    async with upstream() as spare, routed(config=fallback(engine.url, spare.url), retries=SOON) as it:
        answer = await it.call(chat())
        await it.tap.has(4)

    assert 200 == answer.status
    assert ('"small@spare";by=fallback', "2") == (
        answer.headers["x-penstock-route"],
        answer.headers["x-penstock-attempts"],
    )
    assert [("small", "spare")] == [(record.model, record.backend) for record in billed(it)]
    assert "small-q4" == spare.calls[0].json["model"]
    assert (1, 1) == (len(engine.calls), len(spare.calls))


async def test_an_engine_that_cannot_be_reached_costs_no_attempt(engine: Upstream) -> None:
    await engine.refuse()
    async with upstream() as spare, routed(config=fallback(engine.url, spare.url)) as it:
        answer = await it.call(chat())
        await it.tap.has(2)

    assert (200, '"small@spare";by=fallback') == (answer.status, answer.headers["x-penstock-route"])
    assert "x-penstock-attempts" not in answer.headers
    assert 1 == len(billed(it))


async def test_a_backend_that_is_out_is_not_asked_first(engine: Upstream) -> None:
    engine.always = answers(problem("out of memory"), 500)
    async with upstream() as spare, routed(config=fallback(engine.url, spare.url), retries=SOON) as it:
        answered = [await it.call(chat()) for _ in range(9)]

    assert {200} == {answer.status for answer in answered}
    assert 5 == len(engine.calls)
    assert "x-penstock-attempts" not in answered[-1].headers


async def test_where_all_are_out_the_first_is_asked_still(engine: Upstream) -> None:
    await engine.refuse()
    async with upstream() as spare, routed(config=fallback(engine.url, spare.url), retries=SOON) as it:
        await spare.refuse()
        assert 503 == (await it.call(chat())).status
        await engine.listen()
        assert 200 == (await it.call(chat())).status


async def test_without_a_fallback_no_other_model_answers(engine: Upstream) -> None:
    engine.always = answers(problem("out of memory"), 500)
    async with upstream() as spare:
        config = fallback(engine.url, spare.url)
        alone = Config(backends=config.backends, models={MODEL: Model(backend="pool")})
        async with routed(config=alone, retries=SOON) as it:
            assert 502 == (await it.call(chat())).status
        assert [] == spare.calls


async def test_of_two_backends_of_one_model_the_other_stands_in(engine: Upstream) -> None:
    engine.always = answers(problem("out of memory"), 500)
    async with upstream() as spare:
        backends = {"pool": Backend(replicas=(engine.url,)), "spare": Backend(replicas=(spare.url,))}
        both = (Candidate(backend="pool"), Candidate(backend="spare", weight=0))
        config = Config(backends=backends, models={MODEL: Model(backends=both)})
        async with routed(config=config, retries=SOON) as it:
            answer = await it.call(chat())

    assert (200, f'"{MODEL}@spare";by=weight') == (answer.status, answer.headers["x-penstock-route"])


async def test_what_another_model_said_is_not_given_again_for_this_one(
    engine: Upstream, tmp_path: Path
) -> None:
    stored = StoredCache(folder=tmp_path)
    async with upstream() as spare:
        config = fallback(engine.url, spare.url)
        async with routed(config=config, retries=SOON, stored=stored) as it:
            engine.will(closes)
            first = await it.call(chat(temperature=0))
            second = await it.call(chat(temperature=0))

    assert ('"small@spare";by=fallback', f'"{MODEL}@pool"') == (
        first.headers["x-penstock-route"],
        second.headers["x-penstock-route"],
    )
