"""A request that is queued because no engine can be reached, and because its caller wished so."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.router.refusing import refusal
from tests.support.platform import CHAT, Running, config_file, running
from tests.support.upstream import Upstream, answers
from tests.support.wire import MODEL, chat, events_of

pytestmark = pytest.mark.anyio

QUEUE = {"x-penstock-cold": "queue"}
RESPONSES, COMPLETIONS = "/v1/responses", "/v1/completions"


@pytest.fixture
async def cold(tmp_path: Path, engine: Upstream) -> AsyncIterator[Running]:
    """A platform whose engine refuses connections."""
    await engine.refuse()
    async with running(tmp_path, config=config_file(tmp_path, engine.url)) as made:
        yield made


async def told(platform: Running, path: str) -> Any:
    answer = await platform.call("GET", path)
    assert 200 == answer.status
    return answer.json


async def test_it_is_queued_and_where_to_read_it_is_told(cold: Running) -> None:
    headers = QUEUE | {"x-penstock-lane": "batch", "x-penstock-deadline": "60"}
    answer = await cold.call("POST", CHAT, chat(), headers)

    assert 202 == answer.status
    assert "application/json" == answer.headers["content-type"]
    assert ("request", "queued") == (answer.json["object"], answer.json["status"])
    assert f"/v1/requests/{answer.json['id']}" == answer.headers["location"]
    found = await told(cold, answer.headers["location"])
    assert (answer.json["id"], "batch") == (found["id"], found["lane"])


async def test_a_pool_known_to_be_cold_is_not_tried_first(cold: Running) -> None:
    answered = [await cold.call("POST", CHAT, chat(), QUEUE) for _ in range(2)]

    assert [202, 202] == [answer.status for answer in answered]
    assert 2 == len({answer.json["id"] for answer in answered})


async def test_its_answer_is_there_once_an_engine_is(cold: Running, engine: Upstream) -> None:
    answer = await cold.call(
        "POST", COMPLETIONS, json.dumps({"model": MODEL, "prompt": "Hi"}).encode(), QUEUE
    )
    assert 202 == answer.status
    await engine.listen()
    found = await told(cold, f"{answer.headers['location']}?wait=30")

    assert "completed" == found["status"]
    assert [COMPLETIONS] == [call.head.split(b" ", 2)[1].decode() for call in engine.calls]
    assert {"model": MODEL, "prompt": "Hi"} == engine.calls[0].json
    assert 1 == (await cold.usage())["requests"]


async def test_an_engine_that_can_be_reached_answers_at_once(platform: Running, engine: Upstream) -> None:
    answer = await platform.call("POST", CHAT, chat(), QUEUE)

    assert (200, 1) == (answer.status, len(engine.calls))


async def test_what_cannot_be_queued_is_refused_also_while_an_engine_is_there(platform: Running) -> None:
    streamed = await platform.call("POST", CHAT, chat(stream=True), QUEUE)
    response = await platform.call(
        "POST", RESPONSES, b'{"model": "%b", "input": "Hi."}' % MODEL.encode(), QUEUE
    )

    assert "cannot stream" in refusal(streamed, 400, "invalid_value", "x-penstock-cold")
    assert "cannot be queued" in refusal(response, 400, "invalid_value", "x-penstock-cold")


@pytest.mark.parametrize(
    ("headers", "param"),
    [({"x-penstock-lane": "fast"}, "lane"), ({"x-penstock-webhook": "https://a.example"}, "webhook")],
    ids=["lane", "webhook"],
)
async def test_what_the_queue_refuses_is_refused_here(
    cold: Running, headers: dict[str, str], param: str
) -> None:
    answer = await cold.call("POST", CHAT, chat(), QUEUE | headers)

    assert (400, param) == (answer.status, answer.error["param"])


async def test_nobody_is_answered_by_202_who_did_not_ask_for_it(cold: Running) -> None:
    refusal(await cold.chat(), 503, "engine_unavailable")


async def test_an_engine_that_fails_is_no_cold_one(platform: Running, engine: Upstream) -> None:
    engine.always = answers(b"{}", 500)

    assert 502 == (await platform.call("POST", CHAT, chat(), QUEUE)).status


async def test_a_process_may_have_its_callers_wait(tmp_path: Path, engine: Upstream) -> None:
    await engine.refuse()
    settings = {"cold": "hold", "total_timeout_s": 0.5, "commit_after_s": 0.1}
    async with running(tmp_path, config=config_file(tmp_path, engine.url), **settings) as platform:
        waited = await platform.chat(stream=True)
        refusal(await platform.chat(headers={"x-penstock-cold": "fail"}), 503, "engine_unavailable")

    assert 200 == waited.status
    assert waited.body.startswith(b": keep-alive")
    assert "engine_unavailable" == events_of(waited.body)[-1]["error"]["code"]


async def test_whoever_asks_for_a_response_may_wait_too(tmp_path: Path, engine: Upstream) -> None:
    await engine.refuse()
    settings = {"total_timeout_s": 0.3}
    body = json.dumps({"model": MODEL, "input": "Hi."}).encode()
    async with running(tmp_path, config=config_file(tmp_path, engine.url), **settings) as platform:
        answer = await platform.call("POST", RESPONSES, body, {"x-penstock-cold": "hold"})

    refusal(answer, 503, "engine_unavailable")


async def test_a_cold_model_is_listed(cold: Running) -> None:
    refusal(await cold.chat(), 503, "engine_unavailable")

    assert MODEL in [one["id"] for one in (await told(cold, "/v1/models"))["data"]]
