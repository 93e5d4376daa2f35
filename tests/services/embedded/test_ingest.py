"""Requests an app publishes on its tenant's topic: each message makes one, and every one can be read."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from events.bus import Message
from services.requests.ingest import ingest_envelope
from tests.support import client
from tests.support.clock import now
from tests.support.platform import Running, config_file, eventually, running
from tests.support.upstream import Upstream, answers, upstream
from tests.support.wire import chat, completion, usage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


@pytest.fixture
async def platform(tmp_path: Path, engine: Upstream) -> AsyncIterator[Running]:
    async with running(tmp_path, config=config_file(tmp_path, engine.url)) as made:
        yield made


async def published(
    platform: Running, body: bytes, tenant: str = "default", headers: dict[str, str] | None = None
) -> Any:
    authorization = {"authorization": f"Bearer {platform.admin_key}", **(headers or {})}
    path = f"/admin/v1/tenants/{tenant}/ingest"
    answer = await client.ask(platform.port, "POST", path, body, authorization)
    assert 202 == answer.status, answer.body
    return answer.json


async def ended(platform: Running, name: str, key: str | None = None) -> Any:
    """A published request, once it is there and ended."""
    headers = {"authorization": f"Bearer {key or platform.key}"}
    found: list[Any] = []

    async def there() -> bool:
        answer = await platform.call("GET", f"/v1/requests/{name}?wait=5", headers=headers)
        found[:] = [answer.json] if answer.status == 200 else []
        return bool(found) and found[0]["status"] not in ("queued", "in_progress")

    await eventually(there)
    return found[0]


async def test_a_published_request_is_run_and_read(platform: Running, engine: Upstream) -> None:
    engine.will(answers(completion("Hello.", usage=usage(7, 3))))
    async with platform.watching() as watch:
        told = await published(platform, chat("Hi."))
        topics = [
            (await watch.next(topic))["attributes"]["ce-subject"]
            for topic in ("inference-requested-v1", "inference-routed-v1", "inference-completed-v1")
        ]
    done = await ended(platform, told["request_id"])

    assert [told["request_id"]] * 3 == topics
    assert "Hello." == done["response"]["body"]["choices"][0]["message"]["content"]
    row = await platform.usage()
    assert ("ingest-default", 1, 7, 3) == (
        row["key"],
        row["requests"],
        row["input_tokens"],
        row["output_tokens"],
    )


async def test_an_envelope_is_published_with_its_options(platform: Running) -> None:
    envelope = {"url": "/v1/chat/completions", "body": json.loads(chat()), "lane": "batch"}
    done = await ended(platform, (await published(platform, json.dumps(envelope).encode()))["request_id"])

    assert ("completed", "batch") == (done["status"], done["lane"])


BAD = {
    "nothing": (b"", "invalid_json"),
    "no JSON": (b"hello", "invalid_json"),
    "not UTF-8": (b'{"model": "\xff"}', "invalid_json"),
    "not UTF-8 in a name": (b'{"\xff": 1}', "missing_required_parameter"),
    "not UTF-8 in an envelope": (b'{"body": {}, "url": "\xff"}', "invalid_json"),
    "a type that is wrong": (b'{"url": "/v1/chat/completions", "body": 5}', "invalid_type"),
    "depth": (b'{"body": ' + b"[" * 50_000, "invalid_json"),
    "empty messages": (b'{"model": "gemma", "messages": []}', "empty_array"),
    "an unknown model": (chat(model="gpt-9"), "model_not_found"),
    "a stream": (chat(stream=True), "stream_not_supported"),
    "a deadline that passed": (
        b'{"url": "/v1/chat/completions", "deadline": -1, "body": {}}',
        "invalid_value",
    ),
}


@pytest.mark.parametrize(("body", "code"), BAD.values(), ids=BAD)
async def test_what_cannot_be_run_ends_as_a_failure_that_can_be_read(
    platform: Running, engine: Upstream, body: bytes, code: str | None
) -> None:
    failed = await ended(platform, (await published(platform, body))["request_id"])

    assert ("failed", code, None) == (failed["status"], failed["error"]["code"], failed["response"])
    assert failed["error"]["message"].endswith(".")
    assert [] == engine.calls


async def test_one_idempotency_key_makes_one_request(platform: Running, engine: Upstream) -> None:
    headers = {"idempotency-key": "order-17"}
    first = await published(platform, chat("first"), headers=headers)
    second = await published(platform, chat("second"), headers=headers)
    await ended(platform, first["request_id"])
    await published(platform, chat("third"), headers=headers)
    other = await published(platform, chat("other"), headers={"idempotency-key": "order-18"})
    await ended(platform, other["request_id"])

    assert first["request_id"] == second["request_id"] != other["request_id"]
    assert ["first", "other"] == [call.json["messages"][0]["content"] for call in engine.calls]


async def test_the_same_body_twice_makes_two_requests(platform: Running) -> None:
    assert (await published(platform, chat()))["request_id"] != (await published(platform, chat()))[
        "request_id"
    ]


async def test_tenants_do_not_see_each_others_requests(platform: Running) -> None:
    await platform.admin("POST", "/tenants", {"id": "umbrella"})
    key = (await platform.admin("POST", "/keys", {"tenant": "umbrella"}))["key"]
    headers = {"idempotency-key": "same"}
    theirs = await published(platform, chat(), "umbrella", headers)
    ours = await published(platform, chat(), headers=headers)

    assert theirs["request_id"] != ours["request_id"]
    assert "completed" == (await ended(platform, theirs["request_id"], key))["status"]
    assert 404 == (await platform.call("GET", f"/v1/requests/{theirs['request_id']}")).status


async def test_nobody_publishes_for_a_tenant_that_is_not_there(platform: Running) -> None:
    authorization = {"authorization": f"Bearer {platform.admin_key}"}
    answer = await client.ask(platform.port, "POST", "/admin/v1/tenants/nobody/ingest", chat(), authorization)

    assert (400, "invalid_request") == (answer.status, answer.error["code"])
    assert "penstock tenants create" in answer.error["message"]


async def test_a_restart_in_between_loses_no_message(tmp_path: Path, engine: Upstream) -> None:
    config = config_file(tmp_path, engine.url)
    async with running(tmp_path, config=config) as platform:
        await platform.admin("POST", "/tenants", {"id": "umbrella"})
        key = (await platform.admin("POST", "/keys", {"tenant": "umbrella"}))["key"]
        names = [(await published(platform, chat(), "umbrella"))["request_id"] for _ in range(5)]
    async with running(tmp_path, config=config) as platform:
        ends = [await ended(platform, name, key) for name in names]

    assert {"completed"} == {end["status"] for end in ends}
    assert 5 <= len(engine.calls) <= 10  # a run cut by the stop is run again


async def test_a_topic_whose_key_was_revoked_takes_nothing_more(platform: Running, engine: Upstream) -> None:
    await ended(platform, (await published(platform, chat()))["request_id"])
    await platform.admin("POST", "/keys/ingest-default/revoke")
    authorization = {"authorization": f"Bearer {platform.admin_key}"}
    answer = await client.ask(
        platform.port, "POST", "/admin/v1/tenants/default/ingest", chat(), authorization
    )

    assert (400, "invalid_request") == (answer.status, answer.error["code"])
    assert "revoked" in answer.error["message"]
    assert 1 == len(engine.calls)


TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.mark.parametrize(("said", "taken"), [(TRACE, TRACE), ("my secret", ""), (TRACE * 9, ""), ("é", "")])
async def test_a_publishers_traceparent_is_taken_only_where_it_is_one(said: str, taken: str) -> None:
    message = Message(topic="ingest-acme", attributes={"traceparent": said}, data=b"", id="1")

    assert taken == ingest_envelope("acme", message, now()).traceparent
