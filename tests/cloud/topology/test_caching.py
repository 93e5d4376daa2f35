"""Answers cross from dispatcher and router to the shared tier, by the caching function and Firestore."""

import json
from typing import Any

import pytest

from tests.cloud.topology.platform import TENANT, Platform, post, until

pytestmark = pytest.mark.slow

MODEL = "gemma-3-4b-it"


def asked(prompt: str, **more: Any) -> bytes:
    messages = [{"role": "user", "content": prompt}]
    return json.dumps({"model": MODEL, "messages": messages, "temperature": 0, **more}).encode()


def ask(platform: Platform, body: bytes, control: str = "") -> tuple[int, str, bytes]:
    headers = {"authorization": f"Bearer {platform.up.key}", "content-type": "application/json"}
    named = headers | ({"cache-control": control} if control else {})
    status, fields, answer = post(platform.up.port, "/v1/chat/completions", body, named)
    return status, fields.get("cache-status", ""), answer


def test_a_published_requests_answer_is_given_to_a_caller_until_it_is_purged(platform: Platform) -> None:
    platform.penstock("tenants", "set", TENANT, "--cache", "on")
    body = asked("Where is the weir?")
    told = platform.ended(platform.publish(body))

    def hit() -> tuple[int, str, bytes] | None:
        found = ask(platform, body, "only-if-cached")
        return found if found[0] == 200 else None

    _, status, answer = until(hit, "it is kept")
    assert "; hit;" in status
    assert told["response"]["body"] == json.loads(answer)

    platform.penstock("cache", "purge", "--model", MODEL)
    assert 504 == ask(platform, body, "only-if-cached")[0]


def test_what_a_router_answered_is_kept_in_the_shared_tier(platform: Platform) -> None:
    platform.penstock("tenants", "set", TENANT, "--cache", "on")
    body = asked("Where is the sluice?", stream=True)
    first = ask(platform, body)
    # Whatever a router is told makes it forget what it has in memory.
    platform.penstock("tenants", "set", TENANT, "--cache", "on")

    def shared() -> tuple[int, str, bytes] | None:
        found = ask(platform, body, "only-if-cached")
        return found if "detail=shared" in found[1] or "detail=memory" in found[1] else None

    assert first[2] == until(shared, "it is shared")[2]
    platform.penstock("tenants", "set", TENANT, "--cache", "off")
    assert "" == ask(platform, body)[1]
