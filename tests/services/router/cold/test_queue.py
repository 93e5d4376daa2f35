"""A request that is queued because no engine can be reached, and because its caller wished so."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.router.refusing import refusal
from tests.support.platform import CHAT, Running, config_file, running
from tests.support.upstream import Upstream, answers
from tests.support.wire import MODEL, chat

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
