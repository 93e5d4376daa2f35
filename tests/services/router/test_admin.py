"""The operators' endpoints: what they take, what they refuse, and what they let operators watch."""

import json
from typing import Any

import pytest

from tests.services.router.refusing import refusal
from tests.support import client
from tests.support.client import Response
from tests.support.platform import Running
from tests.support.upstream import Upstream, answers
from tests.support.wire import completion, usage

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def platform(shared_platform: Running) -> Running:
    return shared_platform


@pytest.fixture
def engine(shared_engine: Upstream) -> Upstream:
    shared_engine.forget()
    return shared_engine


async def admin(platform: Running, method: str, path: str, body: bytes | None = None) -> Response:
    headers = {"authorization": f"Bearer {platform.admin_key}"}
    return await client.ask(platform.port, method, f"/admin/v1{path}", body, headers)


async def test_a_tenant_is_made_once(platform: Running) -> None:
    made = await admin(platform, "POST", "/tenants", b'{"id": "acme", "name": "Acme"}')
    again = await admin(platform, "POST", "/tenants", b'{"id": "acme"}')

    assert (201, "acme", "Acme") == (made.status, made.json["id"], made.json["name"])
    assert "There is a tenant acme already" in refusal_409(again)


def refusal_409(answer: Response) -> str:
    assert (409, "conflict") == (answer.status, answer.error["code"])
    assert "x-should-retry" not in answer.headers
    return str(answer.error["message"])


@pytest.mark.parametrize("name", ["", "A", "-a", "a b", "é", "a" * 41, "a/b", "a\n"])
async def test_a_tenants_id_is_plain(platform: Running, name: str) -> None:
    answer = await admin(platform, "POST", "/tenants", json.dumps({"id": name}).encode())

    assert "lower-case letters, digits and dashes" in refusal(answer, 400, "invalid_request")


async def test_a_tenants_apps_may_publish_until_that_is_revoked(platform: Running) -> None:
    await platform.admin("POST", "/tenants", {"id": "publishers"})
    enabled = await platform.admin("POST", "/tenants/publishers/enable-ingest", {})
    assert {"tenant": "publishers", "topic": "ingest-publishers", "key": "ingest-publishers"} == enabled
    assert enabled == await platform.admin("POST", "/tenants/publishers/enable-ingest", {})
    await platform.admin("POST", f"/keys/{enabled['key']}/revoke")

    again = await admin(platform, "POST", "/tenants/publishers/enable-ingest")
    assert "was revoked" in refusal(again, 400, "invalid_request")
    nobody = await admin(platform, "POST", "/tenants/nobody/enable-ingest")
    assert "no tenant 'nobody'" in refusal(nobody, 400, "invalid_request")


BODIES = {
    "nothing": b"",
    "no JSON": b"hello",
    "a list": b"[]",
    "an unknown field": b'{"id": "acme", "colour": "red"}',
    "another type": b'{"id": 5}',
    "not UTF-8": b'{"id": "\xff"}',
    "depth": b'{"id": ' + b"[" * 50_000,
    "a name that is not printable": b'{"id": "acme", "name": "a\\u0000"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_is_not_right_is_refused(platform: Running, body: bytes) -> None:
    refusal(await admin(platform, "POST", "/tenants", body), 400, "invalid_request")


KEYS = {
    "a time that passed": b'{"expires_at": "2020-01-01T00:00:00Z"}',
    "a time without a zone": b'{"expires_at": "2090-01-01T00:00:00"}',
    "no time": b'{"expires_at": "soon"}',
    "nobody's tenant": b'{"tenant": "nobody"}',
    "depth": b'{"name": ' + b"[" * 50_000,
}


@pytest.mark.parametrize("body", KEYS.values(), ids=KEYS)
async def test_a_key_that_cannot_be_is_refused(platform: Running, body: bytes) -> None:
    refusal(await admin(platform, "POST", "/keys", body), 400, "invalid_request")


@pytest.mark.parametrize("name", ["key_0", "a%20b", "%2e%2e", "%ff"])
async def test_a_key_that_is_not_there_cannot_be_revoked(platform: Running, name: str) -> None:
    refusal(await admin(platform, "POST", f"/keys/{name}/revoke"), 404, "key_not_found")


async def test_a_key_is_revoked_once(platform: Running) -> None:
    key = await platform.admin("POST", "/keys", {})
    first = await platform.admin("POST", f"/keys/{key['id']}/revoke")

    assert first == await platform.admin("POST", f"/keys/{key['id']}/revoke")


async def test_usage_is_summed_by_line_and_filtered(platform: Running, engine: Upstream) -> None:
    engine.always = answers(completion(usage=usage(7, 3)))
    await platform.admin("POST", "/tenants", {"id": "bolt"})
    key = await platform.admin("POST", "/keys", {"tenant": "bolt"})
    for _ in range(2):
        await platform.chat(headers={"authorization": f"Bearer {key['key']}"})
    row = await platform.usage(2, tenant="bolt")
    filters = [f"key={key['id']}", "tenant=bolt&model=gemma", f"tenant=bolt&since={row['day']}"]

    assert ("bolt", key["id"], "gemma", 2, 14, 6) == tuple(
        row[name] for name in ("tenant", "key", "model", "requests", "input_tokens", "output_tokens")
    )
    assert [[row]] * 3 == [(await platform.admin("GET", f"/usage?{query}"))["data"] for query in filters]
    assert [] == (await platform.admin("GET", "/usage?tenant=nobody"))["data"]


@pytest.mark.parametrize("query", ["since=yesterday", "until=2026-13-01", "since=2026-01-01T00:00"])
async def test_a_day_that_is_none_is_refused(platform: Running, query: str) -> None:
    refusal(await admin(platform, "GET", f"/usage?{query}"), 400, "invalid_request")


async def test_there_are_no_dead_letters_where_nothing_failed(platform: Running) -> None:
    assert [] == (await platform.admin("GET", "/dead-letters"))["data"]


async def test_many_may_watch_the_same_events(platform: Running) -> None:
    async with platform.watching() as one, platform.watching() as other:
        await platform.chat()
        told: list[dict[str, Any]] = [await watch.record("started") for watch in (one, other)]

    assert told[0] == told[1]


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/keys"), ("PUT", "/tenants"), ("POST", "/usage")])
async def test_an_unsupported_method_is_refused(platform: Running, method: str, path: str) -> None:
    refusal(await admin(platform, method, path), 405, "method_not_allowed")


async def test_an_unknown_path_is_refused(platform: Running) -> None:
    refusal(await admin(platform, "GET", "/nothing"), 404, "not_found")
