"""Queued requests on their way to an answer, and everything that can come between."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from events.envelope import wrap
from events.inference import InferenceCompleted
from events.usage import Progress
from events.words import Usage
from tests.services.dispatcher.world import World, world
from tests.support import wire
from tests.support.clock import now
from tests.support.upstream import (
    Script,
    Upstream,
    answers,
    begins,
    closes,
    hangs,
    resets,
    says,
    unreachable,
    waits_for,
)
from tests.support.wire import completion, problem, usage

pytestmark = pytest.mark.anyio

ANSWER = answers(completion("Hello.", usage=usage(7, 3)))
BUSY = answers(problem(), 503, {"retry-after": "0"})


async def test_a_request_is_run_and_its_answer_can_be_read(world: World, engine: Upstream) -> None:
    engine.will(ANSWER)
    name = await world.submit("Hi.")
    await world.dispatch()
    document = await world.ends(name)
    read = await world.answer(name)

    assert ("completed", 1, 0) == (document.state, document.attempts, document.failures)
    assert (200, "Hello.") == (
        read["response"]["status_code"],
        read["response"]["body"]["choices"][0]["message"]["content"],
    )
    assert wire.chat("Hi.") == engine.calls[0].body
    assert f"{name}.1" == engine.calls[0].headers["x-penstock-attempt"]


async def test_its_end_is_told_once_with_its_bill(world: World, engine: Upstream) -> None:
    engine.will(ANSWER)
    name = await world.submit()
    await world.dispatch()
    await world.ends(name)
    (told,) = world.said.events("inference-completed-v1")
    (completed,) = await world.completions(1)

    assert isinstance(told, InferenceCompleted)
    assert (name, "completed", 200) == (told.request_id, told.status, told.status_code)
    assert ("finished", 7, 3, True, None) == (
        completed.outcome,
        completed.usage.input,
        completed.usage.output,
        completed.billed,
        completed.estimated,
    )


async def test_a_bell_wakes_a_dispatcher_that_sleeps(tmp_path: Path, engine: Upstream) -> None:
    async with world(tmp_path, engine.url, look_every_s=60) as made:
        dispatcher = await made.dispatch()
        await asyncio.sleep(0.02)
        name = await made.submit()
        (bell,) = made.said.events("inference-routed-v1")
        await dispatcher.handle(wrap(bell, id="1", source="/test", time=now()))

        assert "completed" == (await made.ends(name)).state


AGAIN: dict[str, tuple[Script, int]] = {  # and how many failures it counts as
    "busy": (BUSY, 0),
    "busy in other words": (answers(problem(), 429, {"retry-after": "0"}), 0),
    "broken": (answers(problem(), 500), 1),
    "dying": (says(b"HTTP/1.1 200", then=closes), 1),
    "dying in its answer": (says(wire.response(completion())[:-5], then=resets), 1),
    "talking nonsense": (answers(b"<html>"), 1),
    "reporting an error as an answer": (answers(problem()), 1),
    "not speaking HTTP": (says(b"220 smtp\r\n"), 1),
}


@pytest.mark.parametrize(("script", "failures"), AGAIN.values(), ids=AGAIN)
async def test_a_request_is_run_again_where_its_engine_was(
    world: World, engine: Upstream, script: Script, failures: int
) -> None:
    engine.will(script, script, ANSWER)
    name = await world.submit()
    await world.dispatch()
    document = await world.ends(name)

    assert ("completed", 3, 2 * failures) == (document.state, document.attempts, document.failures)
    assert [f"{name}.{number}" for number in (1, 2, 3)] == [
        call.headers["x-penstock-attempt"] for call in engine.calls
    ]
    assert [False, False, True] == [done.billed for done in await world.completions(3)]


async def test_a_busy_engine_never_makes_a_request_fail(world: World, engine: Upstream) -> None:
    engine.will(*[BUSY] * 5, ANSWER)
    name = await world.submit()
    await world.dispatch()
    document = await world.ends(name)

    assert ("completed", 6, 0) == (document.state, document.attempts, document.failures)


async def test_a_request_waits_as_long_as_a_busy_engine_says(world: World, engine: Upstream) -> None:
    engine.will(answers(problem(), 503, {"retry-after": "30"}))
    name = await world.submit()
    await world.dispatch()
    await engine.call()
    document = await world.reaches(name, "routed")

    assert document.not_before is not None
    assert 25 < (document.not_before - document.created_at).total_seconds() < 40


async def test_an_engine_that_dies_too_often_makes_a_request_fail(world: World, engine: Upstream) -> None:
    engine.always = says(b"HTTP/1.1 200", then=closes)
    name = await world.submit()
    await world.dispatch()
    document = await world.ends(name)
    read = await world.answer(name)

    assert ("failed", 3, 3) == (document.state, document.attempts, document.failures + 1)
    assert 3 == len(engine.calls)
    assert ("engine_died", None) == (read["error"]["code"], read["response"])
    assert not any(done.billed for done in await world.completions(3))


async def test_a_stale_connection_costs_an_attempt_but_no_pause(tmp_path: Path, engine: Upstream) -> None:
    engine.will(ANSWER, closes, ANSWER)
    async with world(tmp_path, engine.url, look_every_s=60, retry_first_s=60, retry_last_s=60) as made:
        first, second = await made.submit(), await made.submit()
        made.pace = replace(made.pace, slots=1)  # so that the second call is on the first one's connection
        await made.dispatch()
        ends = [await made.ends(name) for name in (first, second)]

    assert {"completed"} == {document.state for document in ends}
    assert (3, 0) == (
        sum(document.attempts for document in ends),
        sum(document.failures for document in ends),
    )


async def test_a_callers_mistake_makes_a_request_fail_at_once(world: World, engine: Upstream) -> None:
    engine.will(answers(problem("top_p must be at most 1.", param="top_p", code="bad"), 400))
    name = await world.submit()
    await world.dispatch()
    document = await world.ends(name)
    read = await world.answer(name)

    assert ("failed", 1) == (document.state, document.attempts)
    assert ("top_p must be at most 1.", "top_p", "bad") == tuple(
        read["error"][part] for part in ("message", "param", "code")
    )


async def test_an_engine_that_cannot_be_reached_is_waited_for(world: World, engine: Upstream) -> None:
    await engine.refuse()
    name = await world.submit()
    await world.dispatch()
    async with asyncio.timeout(10):
        while (await world.document(name)).attempts < 3:
            await asyncio.sleep(0.002)
    await engine.listen()
    document = await world.ends(name)

    assert ("completed", 0) == (document.state, document.failures)


async def test_an_engine_that_accepts_no_connection_is_given_up_and_tried_again(tmp_path: Path) -> None:
    with unreachable() as url:
        async with world(tmp_path, url, connect_s=0.02) as made:
            name = await made.submit()
            await made.dispatch()
            async with asyncio.timeout(10):
                while (await made.document(name)).attempts < 2:
                    await asyncio.sleep(0.002)

            assert 0 == (await made.document(name)).failures


async def test_an_attempt_that_takes_too_long_is_stopped_and_counts_as_failed(
    tmp_path: Path, engine: Upstream
) -> None:
    engine.will(hangs, ANSWER)
    async with world(tmp_path, engine.url, total_s=0.05) as made:
        name = await made.submit()
        await made.dispatch()
        document = await made.ends(name)
        await engine.calls[0].left()

    assert ("completed", 2, 1) == (document.state, document.attempts, document.failures)


@pytest.mark.parametrize("script", [hangs, begins(wire.delta("a"))])
async def test_a_deadline_that_passes_while_it_runs_ends_a_request(
    world: World, engine: Upstream, script: Script
) -> None:
    engine.will(script)
    name = await world.submit(deadline_s=0.1)
    await world.dispatch()
    document = await world.ends(name)
    await engine.calls[0].left()

    assert "expired" == document.state
    assert document.problem is not None
    assert "request_expired" == document.problem.code


async def test_a_deadline_that_passes_before_its_engine_is_called_ends_a_request(
    world: World, engine: Upstream
) -> None:
    world.bodies.slow_s = 0.15
    name = await world.submit(deadline_s=0.1)
    await world.dispatch()

    assert ("expired", []) == ((await world.ends(name)).state, engine.calls)
    assert [] == world.said.records()


async def test_a_request_whose_prompt_is_gone_fails(world: World, engine: Upstream) -> None:
    name = await world.submit()
    await world.bodies.delete([(await world.document(name)).body_id])
    await world.dispatch()
    document = await world.ends(name)

    assert ("failed", []) == (document.state, engine.calls)
    assert document.problem is not None
    assert "server_error" == document.problem.type


async def test_a_request_whose_model_is_gone_fails(world: World, engine: Upstream) -> None:
    name = await world.submit()
    world.config = type(world.config)(backends=world.config.backends, models={})
    await world.dispatch()
    document = await world.ends(name)

    assert "failed" == document.state
    assert document.problem is not None
    assert "model_not_found" == document.problem.code


async def test_a_request_for_an_endpoint_that_is_unknown_here_fails(world: World, engine: Upstream) -> None:
    name = await world.submit()
    await world.change(name, url="/v1/of/a/newer/version")
    await world.dispatch()
    document = await world.ends(name)

    assert ("failed", []) == (document.state, engine.calls)
    assert document.problem is not None
    assert "/v1/of/a/newer/version cannot be run here." == document.problem.message


# --- somebody else decides


async def test_a_request_cancelled_while_queued_is_never_run(world: World, engine: Upstream) -> None:
    name = await world.submit()
    ended = await world.queue().cancel("acme", name)
    await world.dispatch()
    await asyncio.sleep(0.05)

    assert ended is not None
    assert ("cancelled", []) == (ended.state, engine.calls)
    assert 1 == len(world.said.events("inference-completed-v1"))


@pytest.mark.parametrize("script", [hangs, begins(wire.delta("a"))])
async def test_a_request_cancelled_while_it_runs_stops_its_engine(
    world: World, engine: Upstream, script: Script
) -> None:
    engine.will(script)
    name = await world.submit("x" * 40)
    await world.dispatch()
    call = await engine.call()
    await world.queue().cancel("acme", name)
    await call.left()
    (completed,) = await world.completions(1)

    assert "cancelled" == (await world.document(name)).state
    assert ("cancelled", 10, True) == (completed.outcome, completed.usage.input, completed.billed)


async def test_a_run_that_lost_its_claim_ends_without_a_trace(world: World, engine: Upstream) -> None:
    engine.will(hangs)
    name = await world.submit()
    await world.dispatch()
    call = await engine.call()
    await world.change(name, traceparent="somebody else's")
    await call.left()
    (completed,) = await world.completions(1)

    assert "running" == (await world.document(name)).state
    assert ("superseded", False) == (completed.outcome, completed.billed)


@pytest.mark.parametrize("heartbeat_s", [0, 10], ids=["a heartbeat", "a look"])
@pytest.mark.parametrize(
    ("script", "outcome", "state"),
    [(ANSWER, "finished", "completed"), (answers(problem(), 400), "engine_error", "failed")],
)
async def test_a_run_is_not_mistaken_about_its_own_last_write(
    tmp_path: Path, engine: Upstream, script: Script, outcome: str, state: str, heartbeat_s: float
) -> None:
    engine.will(script)
    async with world(tmp_path, engine.url, heartbeat_s=heartbeat_s) as made:
        made.requests.slow_s = 0.03  # long enough for what else happens to a document
        name = await made.submit()
        dispatcher = await made.dispatch()
        await engine.call()
        await dispatcher.stop(10)
        await made.recorder.close()

        assert [outcome] == [done.outcome for done in made.said.completions()]
        document = await made.document(name)
        assert (state, None, ()) == (document.state, document.claim, document.owed)


async def test_an_answer_that_comes_after_a_cancellation_is_dropped(world: World, engine: Upstream) -> None:
    answer = asyncio.Event()
    engine.will(waits_for(answer, ANSWER))
    name = await world.submit()
    await world.dispatch()
    await engine.call()
    answer.set()
    await world.queue().cancel("acme", name)
    await world.completions(1)
    document = await world.ends(name)
    finished = sum(done.outcome == "finished" for done in world.said.completions())

    # Which of the two came first is chance; they never both count.
    assert document.state in ("cancelled", "completed")
    assert (document.state == "completed") == (finished == 1)


@pytest.mark.parametrize("cancel_check_s", [0.01, 60])
async def test_a_long_run_renews_its_lease(tmp_path: Path, engine: Upstream, cancel_check_s: float) -> None:
    engine.will(hangs)
    pace = {"lease_s": 1.0, "heartbeat_s": 0.02, "cancel_check_s": cancel_check_s}
    async with world(tmp_path, engine.url, **pace) as made:
        name = await made.submit()
        dispatcher = await made.dispatch()
        await made.dispatch("d2")
        await engine.call()
        for _ in range(15):
            await asyncio.sleep(0.1)
            await made.sweep(dispatcher)

        assert 1 == len(engine.calls)
        assert 1 == (await made.document(name)).attempts


# --- progress


async def test_a_run_records_that_it_is_alive(tmp_path: Path, engine: Upstream) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, ANSWER))
    async with world(tmp_path, engine.url, progress_every_s=0.02) as made:
        name = await made.submit("x" * 40)
        await made.dispatch()
        async with asyncio.timeout(10):
            while len(alive := [r for r in made.said.records() if isinstance(r, Progress)]) < 3:
                await asyncio.sleep(0.005)
        go.set()
        await made.ends(name)

    assert {(f"{name}.1", Usage(input=10))} == {(record.attempt, record.usage) for record in alive}


async def test_what_never_reached_an_engine_is_not_recorded(tmp_path: Path, engine: Upstream) -> None:
    async with world(tmp_path, engine.url, progress_every_s=0.005) as made:
        made.bodies.slow_s = 0.05
        name = await made.submit()
        await made.bodies.delete([(await made.document(name)).body_id])
        await made.dispatch()
        await made.ends(name)

        assert [] == made.said.records()
