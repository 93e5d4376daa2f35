"""What cannot be queued, and what those are told who tried."""

import json

import pytest

from tests.services.router.refusing import refusal
from tests.support.platform import Running
from tests.support.wire import chat

pytestmark = pytest.mark.anyio

REQUESTS = "/v1/requests"


@pytest.fixture(scope="module")
def platform(shared_platform: Running) -> Running:
    return shared_platform


def enveloped(**more: object) -> bytes:
    return json.dumps({"url": "/v1/chat/completions", "body": json.loads(chat()), **more}).encode()


BAD: dict[str, tuple[bytes, str | None, str | None]] = {
    "no JSON": (b"hello", "invalid_json", None),
    "not UTF-8": (b'{"model": "\xff"}', "invalid_json", None),
    "not UTF-8 in a name": (b'{"\xff": 1}', "missing_required_parameter", "model"),
    "a list": (b"[]", "invalid_type", None),
    "not UTF-8 in an envelope": (b'{"url": "\xff", "body": {}}', "invalid_json", None),
    "no messages": (b'{"model": "gemma", "messages": []}', "empty_array", "messages"),
    "a stream": (chat(stream=True), "stream_not_supported", "stream"),
    "an envelope without a url": (b'{"body": {}}', "missing_required_parameter", "url"),
    "an envelope to elsewhere": (enveloped(url="/v1/images/generations"), "invalid_value", "url"),
    "another method": (enveloped(method="GET"), "invalid_value", "method"),
    "an unknown option": (enveloped(colour="red"), "unknown_parameter", "colour"),
    "a webhook": (enveloped(webhook="https://a.example"), "unknown_parameter", "webhook"),
    "a lane that is no text": (enveloped(lane=1), "invalid_type", "lane"),
    "an unknown lane": (enveloped(lane="fast"), "invalid_value", "lane"),
    "a long custom id": (enveloped(custom_id="x" * 65), "invalid_value", "custom_id"),
    "a deadline in words": (enveloped(deadline="soon"), "invalid_value", "deadline"),
    "a deadline that passed": (enveloped(deadline=-1), "invalid_value", "deadline"),
    "a deadline without a zone": (enveloped(deadline="2030-01-01T00:00:00"), "invalid_value", "deadline"),
    "a deadline without end": (enveloped(deadline="inf"), "invalid_value", "deadline"),
    "a deadline that is no number": (enveloped(deadline="nan"), "invalid_value", "deadline"),
    "a deadline after all days": (enveloped(deadline=1e300), "invalid_value", "deadline"),
    "a body in an envelope that is text": (
        b'{"url": "/v1/chat/completions", "body": "hello"}',
        "invalid_type",
        None,
    ),
    "an answer to elsewhere": (enveloped(answer="webhook"), "invalid_value", "answer"),
    "depth": (b'{"body": ' + b"[" * 50_000, "invalid_json", None),
}


@pytest.mark.parametrize(("body", "code", "param"), BAD.values(), ids=BAD)
async def test_what_cannot_be_queued_is_refused(
    platform: Running, body: bytes, code: str | None, param: str | None
) -> None:
    refusal(await platform.call("POST", REQUESTS, body), 400, code, param)


async def test_an_unknown_model_is_refused(platform: Running) -> None:
    refusal(await platform.call("POST", REQUESTS, chat(model="gpt-9")), 404, "model_not_found", "model")


@pytest.mark.parametrize(
    ("header", "param"),
    [("x-penstock-lane", "lane"), ("x-penstock-deadline", "deadline"), ("x-penstock-answer", "answer")],
)
async def test_a_bad_option_in_a_header_is_refused(platform: Running, header: str, param: str) -> None:
    answer = await platform.call("POST", REQUESTS, chat(), {header: "nonsense"})

    refusal(answer, 400, "invalid_value", param)


async def test_a_webhook_in_a_header_is_refused_like_one_in_an_envelope(platform: Running) -> None:
    answer = await platform.call("POST", REQUESTS, chat(), {"x-penstock-webhook": "https://a.example"})

    assert "read the answer" in refusal(answer, 400, "unknown_parameter", "webhook")


async def test_another_media_type_is_refused(platform: Running) -> None:
    answer = await platform.call("POST", REQUESTS, chat(), {"content-type": "text/plain"})

    refusal(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("wait", ["soon", "-1", "61", "nan", "inf"])
async def test_a_wait_that_cannot_be_is_refused(platform: Running, wait: str) -> None:
    refusal(await platform.call("GET", f"{REQUESTS}/req_1?wait={wait}"), 400, "invalid_value", "wait")
