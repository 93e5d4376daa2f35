"""The endpoints beside the hot path: models, health, metrics."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.services.router.refusing import REQUEST_ID, refusal
from tests.support import client
from tests.support.platform import Running, config_file, running
from tests.support.upstream import Upstream, answers, closes, says
from tests.support.wire import completion, usage

pytestmark = pytest.mark.anyio


async def test_models_are_listed_as_openai_lists_them(tmp_path: Path, engine: Upstream) -> None:
    document = {
        "backends": {"pool": {"replicas": [engine.url]}},
        "models": {"b/slashed:4b": {"backend": "pool", "context": 8192}, "a": {"backend": "pool"}},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    async with running(tmp_path, config=str(path)) as platform:
        listed = await platform.call("GET", "/v1/models")
        plain = await platform.call("GET", "/v1/models/b/slashed:4b")
        quoted = await platform.call("GET", "/v1/models/b%2Fslashed%3A4b")

    assert "list" == listed.json["object"]
    assert ["a", "b/slashed:4b"] == [row["id"] for row in listed.json["data"]]
    assert listed.json["data"][1] == plain.json == quoted.json
    assert ("model", "pool", 8192) == tuple(
        plain.json[name] for name in ("object", "owned_by", "max_model_len")
    )
    assert plain.json["created"] <= datetime.now(UTC).timestamp()


async def test_aliases_and_tasks_are_models_by_their_own_names(tmp_path: Path, engine: Upstream) -> None:
    document = {
        "backends": {"pool": {"replicas": [engine.url]}},
        "models": {"a/b": {"backend": "pool", "tasks": ["code"]}},
        "aliases": {"x/y": "a/b"},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    async with running(tmp_path, config=str(path)) as platform:
        listed = (await platform.call("GET", "/v1/models")).json["data"]
        single = [(await platform.call("GET", f"/v1/models/{row['id']}")).json for row in listed]
        unknown = await platform.call("GET", "/v1/models/task:slow")

    assert ["a/b", "task:code", "x/y"] == [row["id"] for row in listed]
    assert listed == single
    refusal(unknown, 404, "model_not_found", "model")


async def test_an_unknown_model_is_refused_with_those_there_are(platform: Running) -> None:
    answer = await platform.call("GET", "/v1/models/gpt-9")

    assert "Models: gemma." in refusal(answer, 404, "model_not_found", "model")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gemma", "/health", "/ready"])
async def test_every_answer_has_a_request_id_of_its_own(platform: Running, path: str) -> None:
    ids = {(await platform.call("GET", path)).headers["x-request-id"] for _ in range(3)}

    assert 3 == len(ids)
    assert all(REQUEST_ID.fullmatch(found) for found in ids)


async def test_health_and_readiness_need_no_key(platform: Running) -> None:
    health = await client.ask(platform.port, "GET", "/health")
    ready = await client.ask(platform.port, "GET", "/ready")

    assert (200, {"status": "ok"}) == (health.status, health.json)
    assert (200, {"status": "ready"}) == (ready.status, ready.json)


@pytest.mark.own_front
async def test_a_platform_that_stops_says_it_is_not_ready(tmp_path: Path, engine: Upstream) -> None:
    config = config_file(tmp_path, engine.url)
    async with (
        running(tmp_path, config=config) as platform,
        platform.connected() as held,
        platform.connected() as probe,
    ):
        await held.send(b"POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\n")
        await probe.send(b"GET /ready HTTP/1.1\r\nhost: t\r\n")
        await asyncio.sleep(0.02)
        stop = asyncio.create_task(platform.platform.stop())
        await asyncio.sleep(0.02)
        await probe.send(b"\r\n")
        ready = await probe.response()
        held.reset()
        await stop

    assert (503, "draining") == (ready.status, ready.json["missing"]["process"])


async def metrics(platform: Running) -> str:
    answer = await client.ask(urlsplit(platform.metrics_url).port or 0, "GET", "/metrics")
    assert 200 == answer.status
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.body.decode()


async def test_metrics_tell_attempts_tokens_and_refusals(platform: Running, engine: Upstream) -> None:
    engine.will(answers(completion(usage=usage(7, 3))), says(b"HTTP/1.1", then=closes))
    await platform.chat()
    await platform.chat()
    await platform.chat(model="gpt-9")
    told = await metrics(platform)

    place = 'gen_ai_operation_name="chat",gen_ai_request_model="gemma"'
    count = "gen_ai_server_request_duration_seconds_count"
    at = '"gemma",penstock_backend="pool"'
    assert f'{count}{{error_type="",{place},penstock_backend="pool"}} 1.0' in told
    assert f'{count}{{error_type="engine_died",{place},penstock_backend="pool"}} 1.0' in told
    output = 'gen_ai_operation_name="chat",gen_ai_request_model="gemma",gen_ai_token_type="output"'
    assert f'gen_ai_client_token_usage_sum{{{output},penstock_backend="pool"}} 3.0' in told
    refused = 'error_type="model_not_found",http_response_status_code="404"'
    assert f"penstock_refusals_total{{{refused}}} 1.0" in told
    assert f"penstock_in_flight{{gen_ai_request_model={at}}} 0.0" in told
    assert 'penstock_breaker_state{penstock_backend="pool",penstock_replica="127.0.0.1:' in told
    assert "penstock_held_bytes 0.0" in told


async def test_metrics_are_never_on_the_public_port(platform: Running) -> None:
    refusal(await platform.call("GET", "/metrics"), 404, "not_found")


async def test_the_metrics_port_serves_metrics_only(platform: Running) -> None:
    port = urlsplit(platform.metrics_url).port or 0

    assert 404 == (await client.ask(port, "GET", "/v1/models")).status
