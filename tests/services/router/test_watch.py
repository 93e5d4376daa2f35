"""One line for every request that is over, whatever became of it; none of its content."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import client
from tests.support.platform import CHAT, Running, config_file, running
from tests.support.upstream import Upstream, answers, begins, resets, streams
from tests.support.wire import DONE, MODEL, chat, completion, delta, request, usage

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-00"

Use = Callable[[Running], Any]


async def lines(
    folder: Path, engine: Upstream, capfd: pytest.CaptureFixture[str], use: Use, **more: Any
) -> list[dict[str, Any]]:
    """What is logged of requests while a platform is used."""
    settings = {"config": config_file(folder, engine.url), "log_format": "json", **more}
    async with running(folder, **settings) as platform:
        await use(platform)
    told = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    return [line for line in told if "outcome" in line]


async def line(*given: Any, **more: Any) -> dict[str, Any]:
    (only,) = await lines(*given, **more)
    return only


async def test_an_answer_is_a_line(
    tmp_path: Path, engine: Upstream, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.will(answers(completion(usage=usage(7, 3))))
    ids = []

    async def use(platform: Running) -> None:
        answer = await platform.chat(headers={"traceparent": PARENT, "user-agent": "test/1"})
        ids.append(answer.headers["x-request-id"])

    told = await line(tmp_path, engine, capfd, use)

    assert ids == [told["request_id"]]
    assert (MODEL, "pool", "default", "finished") == tuple(
        told[name] for name in ("model", "backend", "tenant", "outcome")
    )
    assert (7, 3) == (told["input_tokens"], told["output_tokens"])
    assert ("POST", CHAT, 200, "test/1") == tuple(
        told["httpRequest"][name] for name in ("requestMethod", "requestUrl", "status", "userAgent")
    )
    assert TRACE == told["logging.googleapis.com/trace"]
    assert told["key_id"]


async def test_a_stream_tells_its_first_byte(
    tmp_path: Path, engine: Upstream, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.will(streams(delta("Hello"), delta("."), DONE))
    told = await line(tmp_path, engine, capfd, lambda platform: platform.chat(stream=True))

    assert told["stream"]
    assert 0 < told["first_byte_ms"] <= told["duration_ms"]


async def test_a_call_outside_any_trace_is_found_by_its_request(
    tmp_path: Path, engine: Upstream, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.will(answers(completion()))
    told = await line(tmp_path, engine, capfd, lambda platform: platform.chat())

    assert f"{told['request_id']}.1" == engine.calls[0].headers["x-penstock-attempt"]
    assert "logging.googleapis.com/trace" not in told


async def test_failures_and_refusals_are_told_by_their_kind(
    tmp_path: Path, engine: Upstream, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.will(resets)

    async def use(platform: Running) -> None:
        await platform.chat()
        await platform.chat(model="made-up")
        await platform.call("GET", "/v1/nowhere")
        await client.ask(platform.port, "POST", CHAT, chat("Hi."), {"content-type": "application/json"})

    told = await lines(tmp_path, engine, capfd, use)

    assert [
        ("engine_died", 502, "ERROR"),
        ("model_not_found", 404, "WARNING"),
        ("not_found", 404, "WARNING"),
        ("invalid_api_key", 401, "WARNING"),
    ] == [(line["outcome"], line["httpRequest"]["status"], line["severity"]) for line in told]
    assert "made-up" not in json.dumps(told)
    assert [True] * 4 == ["request_id" in line for line in told]


async def test_a_client_that_leaves_is_told(
    tmp_path: Path, engine: Upstream, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.will(begins(delta("Hello")))

    async def use(platform: Running) -> None:
        async with platform.connected() as connection:
            body = chat("Hi.", stream=True)
            await connection.send(request("POST", CHAT, body, platform.keyed()))
            await connection.head()
            await connection.chunk()
        await engine.calls[0].left()

    told = await line(tmp_path, engine, capfd, use)

    assert ("client_gone", 200) == (told["outcome"], told["httpRequest"]["status"])


async def test_calls_in_one_connection_are_a_line_each_and_probes_none(
    tmp_path: Path, engine: Upstream, capfd: pytest.CaptureFixture[str]
) -> None:
    async def use(platform: Running) -> None:
        one = request("GET", "/v1/models", headers=platform.keyed())
        async with platform.connected() as connection:
            await connection.send(one + request("GET", "/health") + request("GET", "/ready") + one)
            for _ in range(4):
                await connection.response()

    told = await lines(tmp_path, engine, capfd, use)

    assert ["/v1/models", "/v1/models"] == [line["httpRequest"]["requestUrl"] for line in told]


async def test_a_queued_request_is_a_line_where_it_ran(
    tmp_path: Path, engine: Upstream, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.will(answers(completion(usage=usage(7, 3))))
    ids = []

    async def use(platform: Running) -> None:
        queued = await platform.call("POST", "/v1/requests", chat("Hi."), {"traceparent": PARENT})
        ids.append(queued.json["id"])
        await platform.call("GET", f"/v1/requests/{ids[0]}?wait=10")

    told = await lines(tmp_path, engine, capfd, use)
    (ran,) = [line for line in told if "httpRequest" not in line]

    assert (ids[0], "finished", 3) == tuple(ran[name] for name in ("request_id", "outcome", "output_tokens"))
    assert TRACE == ran["logging.googleapis.com/trace"]


async def test_an_answer_that_is_kept_before_it_is_given_is_given_and_a_line(
    tmp_path: Path, engine: Upstream, capfd: pytest.CaptureFixture[str]
) -> None:
    engine.will(answers(completion("Hello.")))
    told = []

    async def use(platform: Running) -> None:
        body = json.dumps({"model": MODEL, "input": "Hi.", "store": True}).encode()
        told.append(await platform.call("POST", "/v1/responses", body))

    ended = await line(tmp_path, engine, capfd, use)

    assert (200, "completed") == (told[0].status, told[0].json["status"])
    assert (200, "finished", MODEL) == (ended["httpRequest"]["status"], ended["outcome"], ended["model"])


@pytest.mark.parametrize(
    ("settings", "count"),
    [({"log_format": "text"}, 0), ({"access_log": "off"}, 0), ({"log_format": "json"}, 1)],
    ids=["text", "off", "json"],
)
async def test_lines_are_written_where_logs_are_json(
    tmp_path: Path, engine: Upstream, capfd: pytest.CaptureFixture[str], settings: Any, count: int
) -> None:
    engine.will(answers(completion()))

    assert count == len(await lines(tmp_path, engine, capfd, lambda platform: platform.chat(), **settings))


async def test_every_call_with_an_api_key_is_its_tenants(
    tmp_path: Path, engine: Upstream, capfd: pytest.CaptureFixture[str]
) -> None:
    key = {"idempotency-key": "order-17"}

    async def use(platform: Running) -> None:
        for _ in range(2):
            assert 200 == (await platform.chat(headers=key)).status
        assert 400 == (await platform.call("POST", CHAT, b"{}")).status
        body = json.dumps({"model": MODEL, "input": "Hi.", "background": True}).encode()
        assert 200 == (await platform.call("POST", "/v1/responses", body)).status

    told = await lines(tmp_path, engine, capfd, use)
    asked = [one for one in told if one.get("httpRequest")]

    assert ["default"] * 4 == [one.get("tenant") for one in asked]
    assert all(one.get("key_id") for one in asked)
