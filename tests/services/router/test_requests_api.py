"""Queued requests as callers see them: handed in, read, waited for, cancelled, expired."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.services.router.refusing import refusal
from tests.support import client
from tests.support.client import PATIENCE_S, Response
from tests.support.platform import Running, config_file, eventually, running
from tests.support.upstream import Upstream, answers, hangs, says, waits_for
from tests.support.wire import chat, completion, problem, request, usage

pytestmark = pytest.mark.anyio

REQUESTS = "/v1/requests"
ANSWER = answers(completion("Hello.", usage=usage(7, 3)))


async def submitted(platform: Running, body: bytes | None = None, **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await platform.call("POST", REQUESTS, body or chat(), named)
    assert 202 == answer.status, answer.body
    assert f"{REQUESTS}/{answer.json['id']}" == answer.headers["location"]
    resource: dict[str, Any] = answer.json
    return resource


async def read(platform: Running, name: str, wait: float = 0) -> dict[str, Any]:
    answer = await platform.call("GET", f"{REQUESTS}/{name}?wait={wait}")
    assert 200 == answer.status, answer.body
    resource: dict[str, Any] = answer.json
    return resource


async def test_a_request_is_queued_run_and_read(platform: Running, engine: Upstream) -> None:
    engine.will(ANSWER)
    queued = await submitted(platform)
    done = await read(platform, queued["id"], wait=10)

    assert ("request", "queued", "gemma", "interactive") == tuple(
        queued[name] for name in ("object", "status", "model", "lane")
    )
    assert (None, None) == (queued["response"], queued["error"])
    assert ("completed", None) == (done["status"], done["error"])
    assert {"status_code": 200, "body": json.loads(completion("Hello.", usage=usage(7, 3)))} == done[
        "response"
    ]
    assert queued["created_at"] == done["created_at"] <= time.time() < done["expires_at"]
    assert chat() == engine.calls[0].body


async def test_a_queued_request_is_billed_exactly_once(platform: Running, engine: Upstream) -> None:
    engine.will(ANSWER)
    await read(platform, (await submitted(platform))["id"], wait=10)

    row = await platform.usage()
    assert (1, 7, 3, 0) == tuple(
        row[name] for name in ("requests", "input_tokens", "output_tokens", "estimated_tokens")
    )


async def test_an_envelope_names_its_options_beside_its_body(platform: Running, engine: Upstream) -> None:
    body = json.loads(chat("in an envelope"))
    envelope = {"url": "/v1/chat/completions", "body": body, "lane": "batch", "custom_id": "mine-1"}
    queued = await submitted(platform, json.dumps(envelope).encode(), x_penstock_lane="interactive")
    await read(platform, queued["id"], wait=10)

    assert ("batch", "mine-1") == (queued["lane"], queued["custom_id"])
    assert body == engine.calls[0].json


async def test_a_flat_body_takes_its_options_from_headers(platform: Running) -> None:
    queued = await submitted(platform, x_penstock_lane="batch", x_penstock_deadline="3600")

    assert "batch" == queued["lane"]
    assert 3600 + 86_400 - 5 < queued["expires_at"] - queued["created_at"] < 3600 + 86_400 + 5


@pytest.mark.parametrize("name", ["req_0", "%2e%2e", "x" * 500, "%00", "%ff"])
async def test_an_unknown_request_is_not_there(platform: Running, name: str) -> None:
    for method, path in (("GET", name), ("POST", f"{name}/cancel")):
        refusal(await platform.call(method, f"{REQUESTS}/{path}"), 404, "request_not_found", "id")


async def other_tenant(platform: Running) -> dict[str, str]:
    await platform.admin("POST", "/tenants", {"id": "umbrella"})
    key = await platform.admin("POST", "/keys", {"tenant": "umbrella"})
    return {"authorization": f"Bearer {key['key']}"}


async def test_another_tenants_request_is_not_there(platform: Running, engine: Upstream) -> None:
    engine.will(hangs)
    name = (await submitted(platform))["id"]
    headers = await other_tenant(platform)
    for method, path in (("GET", name), ("POST", f"{name}/cancel")):
        answer: Response = await client.ask(platform.port, method, f"{REQUESTS}/{path}", None, headers)
        refusal(answer, 404, "request_not_found", "id")

    assert (await read(platform, name))["status"] in ("queued", "in_progress")


async def test_a_request_under_way_says_so(platform: Running, engine: Upstream) -> None:
    engine.will(hangs)
    name = (await submitted(platform))["id"]
    await engine.call()
    waited = await read(platform, name, wait=0.05)

    assert ("in_progress", None) == (waited["status"], waited["response"])


async def test_who_waits_is_answered_as_soon_as_it_is_done(platform: Running, engine: Upstream) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, ANSWER))
    name = (await submitted(platform))["id"]
    waiting = asyncio.create_task(read(platform, name, wait=9))
    await engine.call()
    go.set()

    assert "completed" == (await waiting)["status"]


async def test_a_request_is_cancelled_while_it_runs(platform: Running, engine: Upstream) -> None:
    engine.will(hangs)
    name = (await submitted(platform))["id"]
    call = await engine.call()
    cancelled = await platform.call("POST", f"{REQUESTS}/{name}/cancel")
    await call.left()

    assert (200, "cancelled") == (cancelled.status, cancelled.json["status"])
    assert "request_cancelled" == (await read(platform, name))["error"]["code"]


async def test_a_request_is_cancelled_while_it_waits(tmp_path: Path, engine: Upstream) -> None:
    engine.always = hangs
    async with running(tmp_path, config=config_file(tmp_path, engine.url), queue_slots=1) as platform:
        await submitted(platform, chat("first"))
        name = (await submitted(platform, chat("second")))["id"]
        await engine.call()
        assert 200 == (await platform.call("POST", f"{REQUESTS}/{name}/cancel")).status

        assert "cancelled" == (await read(platform, name))["status"]
        assert ["first"] == [call.json["messages"][0]["content"] for call in engine.calls]


async def test_what_has_ended_cannot_be_cancelled(platform: Running) -> None:
    name = (await submitted(platform))["id"]
    await read(platform, name, wait=10)
    answer = await platform.call("POST", f"{REQUESTS}/{name}/cancel")

    assert (200, "completed") == (answer.status, answer.json["status"])


async def test_a_request_the_engine_refuses_fails_with_its_words(platform: Running, engine: Upstream) -> None:
    engine.will(answers(problem("top_p must be at most 1.", param="top_p"), 400))
    failed = await read(platform, (await submitted(platform))["id"], wait=10)

    assert ("failed", None) == (failed["status"], failed["response"])
    assert ("top_p must be at most 1.", "top_p") == (failed["error"]["message"], failed["error"]["param"])


@pytest.mark.slow
async def test_a_busy_engine_only_makes_a_request_wait(platform: Running, engine: Upstream) -> None:
    engine.will(answers(problem(), 503), answers(problem(), 429), ANSWER)
    name = (await submitted(platform))["id"]

    async def done() -> bool:
        return (await read(platform, name))["status"] == "completed"

    await eventually(done, within_s=30)  # between attempts it looks every five seconds
    assert 3 == len(engine.calls)


async def test_a_request_whose_engine_dies_too_often_fails(tmp_path: Path, engine: Upstream) -> None:
    engine.always = says(b"HTTP/9.9\r\n\r\n")
    async with running(tmp_path, config=config_file(tmp_path, engine.url), queue_failures=1) as platform:
        failed = await read(platform, (await submitted(platform))["id"], wait=10)

    assert ("failed", "engine_died") == (failed["status"], failed["error"]["code"])
    assert 1 == len(engine.calls)


async def test_a_request_not_done_by_its_deadline_expires(tmp_path: Path, engine: Upstream) -> None:
    engine.always = hangs
    settings = {"config": config_file(tmp_path, engine.url), "queue_slots": 1, "job_every_s": 0.1}
    async with running(tmp_path, **settings) as platform:
        running_one = await submitted(platform, x_penstock_deadline="0.3")
        waiting_one = await submitted(platform, x_penstock_deadline="0.3")
        ends = [await read(platform, one["id"], wait=10) for one in (running_one, waiting_one)]

    assert ["expired"] * 2 == [end["status"] for end in ends]
    assert {"request_expired"} == {end["error"]["code"] for end in ends}


async def test_a_result_is_forgotten_when_its_time_is_over(tmp_path: Path, engine: Upstream) -> None:
    settings = {"config": config_file(tmp_path, engine.url), "results_kept_s": 1}
    async with running(tmp_path, **settings) as platform:
        name = (await submitted(platform))["id"]
        assert "completed" == (await read(platform, name, wait=10))["status"]

        async def gone() -> bool:
            return (await platform.call("GET", f"{REQUESTS}/{name}")).status == 404

        await eventually(gone)


async def test_a_restart_in_between_loses_nothing(tmp_path: Path, engine: Upstream) -> None:
    config = config_file(tmp_path, engine.url)
    engine.will(ANSWER, hangs)
    async with running(tmp_path, config=config, queue_slots=1, drain_s=0.05) as platform:
        done = (await submitted(platform, chat("done")))["id"]
        before = await read(platform, done, wait=10)
        under_way = (await submitted(platform, chat("under way")))["id"]
        waiting = (await submitted(platform, chat("waiting")))["id"]
        await engine.call(2)
    async with running(tmp_path, config=config) as platform:
        assert before == await read(platform, done)
        for name in (under_way, waiting):
            assert "completed" == (await read(platform, name, wait=10))["status"]
        row = await platform.usage(3)

    assert 3 == row["requests"]
    assert ["done", "under way", "under way", "waiting"] == sorted(
        call.json["messages"][0]["content"] for call in engine.calls
    )


async def test_a_platform_that_stops_tells_who_waits_and_does_not_wait_for_them(
    tmp_path: Path, engine: Upstream
) -> None:
    settings = {"config": config_file(tmp_path, engine.url), "queue_slots": 0, "drain_s": 60}
    async with (
        running(tmp_path, **settings) as platform,
        platform.watching(),
        platform.connected() as waiting,
    ):
        name = (await submitted(platform))["id"]
        await waiting.ask("GET", "/health")
        await waiting.send(request("GET", f"{REQUESTS}/{name}?wait=60", None, platform.keyed()))
        await asyncio.sleep(0.02)
        async with asyncio.timeout(PATIENCE_S):
            await platform.platform.stop()

        refusal(await waiting.response(), 503, "shutting_down")


async def test_a_body_that_is_too_large_to_be_queued_is_refused_with_the_limit(
    tmp_path: Path, engine: Upstream
) -> None:
    settings = {"config": config_file(tmp_path, engine.url), "queue_body_bytes": 2000}
    async with running(tmp_path, **settings) as platform:
        await submitted(platform)
        message = refusal(
            await platform.call("POST", REQUESTS, chat("x" * 2000)), 413, "request_too_large", None
        )

    assert "2000 at most" in message


async def test_a_published_message_that_is_too_large_is_a_failed_request_that_says_so(
    tmp_path: Path, engine: Upstream
) -> None:
    settings = {"config": config_file(tmp_path, engine.url), "queue_body_bytes": 2000}
    async with running(tmp_path, **settings) as platform:
        content = json.loads(chat("x" * 2000))
        published = await platform.admin("POST", "/tenants/default/ingest", content)
        name = published["request_id"]

        async def is_made() -> bool:
            return 200 == (await platform.call("GET", f"{REQUESTS}/{name}")).status

        await eventually(is_made)
        done = await read(platform, name)

    assert "failed" == done["status"]
    assert "request_too_large" == done["error"]["code"]
