"""Responses that are kept, over HTTP: in the background, and stored after they were answered at once."""

import json
from pathlib import Path
from typing import Any

import pytest

from events.words import Unavailable
from services.responses.translation import Asked, translate
from services.router.responses.reply import StoredReply
from services.wire.fields import Fields
from tests.services.router.refusing import refusal
from tests.support.client import Response
from tests.support.platform import Running, config_file, eventually, running
from tests.support.upstream import Upstream, answers, begins, closes, streams
from tests.support.wire import (
    DONE,
    MODEL,
    chat,
    completion,
    delta,
    event,
    request,
    usage,
    usage_event,
)

pytestmark = pytest.mark.anyio

PATH = "/v1/responses"
ENDED = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
HELLO = completion("Hello.", usage=usage(7, 3))


async def ask(platform: Running, headers: dict[str, str] | None = None, **fields: Any) -> Response:
    body = json.dumps({"model": MODEL, "input": "Hi."} | fields).encode()
    return await platform.call("POST", PATH, body, headers)


async def get(platform: Running, name: str, query: str = "", **headers: str) -> Response:
    return await platform.call("GET", f"{PATH}/{name}{query}", headers=headers)


def events_of(answer: Response) -> list[dict[str, Any]]:
    told = [part.partition(b"data: ")[2] for part in answer.body.split(b"\n\n") if b"data: " in part]
    return [json.loads(one) for one in told]


async def ended(platform: Running, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def is_over() -> bool:
        found.update((await get(platform, name)).json)
        return found["status"] not in ("queued", "in_progress")

    await eventually(is_over)
    return found


async def test_only_what_is_stored_can_be_read_again(platform: Running, engine: Upstream) -> None:
    engine.will(answers(HELLO), answers(HELLO), answers(HELLO))
    for fields in ({}, {"store": False}):
        plain = (await ask(platform, **fields)).json
        assert plain["store"] is False
        refusal(await get(platform, plain["id"]), 404, "response_not_found", "response_id")
    stored = (await ask(platform, store=True)).json

    assert stored["store"] is True
    assert stored == (await get(platform, stored["id"])).json
    assert {"model", "messages"} == engine.calls[2].json.keys()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", [{}, {"store": True}, {"background": True}])
async def test_however_it_is_made_it_says_when_it_was_complete(
    platform: Running, engine: Upstream, how: dict[str, bool], stream: bool
) -> None:
    made = streams(delta("Hello."), ENDED, usage_event(7, 3), DONE)
    engine.will(made if stream else answers(HELLO))
    answer = await ask(platform, stream=stream, **how)
    told = [one["response"] for one in events_of(answer) if "response" in one] or [answer.json]
    if how.get("background"):
        assert told[0]["completed_at"] is None
        told.append(await ended(platform, told[0]["id"]))

    assert "completed" == told[-1]["status"]
    assert told[-1]["created_at"] <= told[-1]["completed_at"]


async def test_a_stream_is_stored_before_its_end_is_told(platform: Running, engine: Upstream) -> None:
    engine.will(streams(delta("Hello."), ENDED, usage_event(7, 3), DONE))
    events = events_of(await ask(platform, store=True, stream=True))
    last = events[-1]

    assert list(range(len(events))) == [one["sequence_number"] for one in events]
    assert ("response.completed", True) == (last["type"], last["response"]["store"])
    assert last["response"] == (await get(platform, last["response"]["id"])).json


async def test_a_stream_that_broke_off_is_not_stored(platform: Running, engine: Upstream) -> None:
    engine.will(begins(delta("Half "), then=closes))
    last = events_of(await ask(platform, store=True, stream=True))[-1]

    assert ("response.failed", False) == (last["type"], last["response"]["store"])
    refusal(await get(platform, last["response"]["id"]), 404, "response_not_found", "response_id")


async def test_an_engines_error_is_told_though_it_was_to_be_stored(
    platform: Running, engine: Upstream
) -> None:
    engine.will(answers(b'{"choices": [{"message": 5}]}'), answers(b"{}", 400))

    refusal(await ask(platform, store=True), 502, "engine_error")
    assert 400 == (await ask(platform, store=True)).status


class Told:
    """A reply that notes what it is told."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.listener = None

    def send(self, status: int, fields: Fields, body: bytes) -> None:
        self.said.append((status, json.loads(body)["store"]))

    def start(self, status: int, fields: Fields) -> None:
        self.said.append(status)

    def write(self, data: bytes) -> None:
        self.said += [json.loads(data.rpartition(b"data: ")[2])] if data else []

    def finish(self) -> None:
        self.said.append("over")

    def abort(self) -> None:
        self.said.append("broken off")


async def test_what_cannot_be_kept_is_told_all_the_same(platform: Running) -> None:
    # It is made and paid for; the caller is told that it is not stored.
    body = json.dumps({"model": MODEL, "input": "Hi.", "store": True}).encode()
    asked = translate(body, id="resp_1", created_at=1)
    assert isinstance(asked, Asked)
    running: list[Any] = []

    async def keep(response: object) -> None:
        raise Unavailable("The store is away.")

    whole, streamed = Told(), Told()
    StoredReply(whole, asked.response, lambda: 5, keep, running.append).send(200, b"", HELLO)
    reply = StoredReply(streamed, asked.response, lambda: 5, keep, running.append)
    reply.start(200, b"")
    reply.write(delta("Hello.") + ENDED + DONE)
    reply.finish()
    assert [] == whole.said
    assert "over" != streamed.said[-1]
    for one in running:
        await one

    assert [(200, False)] == whole.said
    assert ("response.completed", False) == (
        streamed.said[-2]["type"],
        streamed.said[-2]["response"]["store"],
    )
    assert "over" == streamed.said[-1]


async def test_a_response_may_be_large_only_as_far_as_it_can_be_kept(
    tmp_path: Path, engine: Upstream
) -> None:
    async with running(tmp_path, config=config_file(tmp_path, engine.url), queue_body_bytes=1_000) as small:
        for fields in ({"store": True}, {"background": True}):
            answer = await ask(small, input="x" * 1_000, **fields)
            refusal(answer, 413, "request_too_large")


async def test_it_belongs_to_its_tenant_and_is_no_other_request(platform: Running, engine: Upstream) -> None:
    engine.always = answers(HELLO)
    stored = (await ask(platform, store=True)).json["id"]
    begun = (await ask(platform, background=True)).json["id"]
    queued = (await platform.call("POST", "/v1/requests", chat())).json["id"]
    await platform.admin("POST", "/tenants", {"id": "other", "name": "Other"})
    key = (await platform.admin("POST", "/keys", {"tenant": "other", "name": "k"}))["key"]
    theirs = {"authorization": f"Bearer {key}"}
    await ended(platform, begun)

    for name in (stored, begun):
        assert 200 == (await get(platform, name)).status
        for method, path in (("GET", name), ("POST", f"{name}/cancel"), ("DELETE", name)):
            answer = await platform.call(method, f"{PATH}/{path}", headers=theirs)
            refusal(answer, 404, "response_not_found", "response_id")
    for name in (queued.replace("req_", "resp_"), queued, begun.replace("resp_", "req_"), "resp_", "x"):
        refusal(await get(platform, name), 404, "response_not_found", "response_id")


async def test_what_is_asked_of_a_kept_response(platform: Running, engine: Upstream) -> None:
    engine.always = answers(HELLO)
    stored = (await ask(platform, store=True)).json["id"]
    begun = (await ask(platform, background=True)).json["id"]
    await ended(platform, begun)

    for name in (stored, begun):
        refusal(await get(platform, name, "?stream=true"), 400, "invalid_value", "stream")
    for truth in ("perhaps", "1", ""):
        refusal(await get(platform, begun, f"?stream={truth}"), 400, "invalid_value", "stream")
    for number in ("", "-1", "x", "1.5", "9" * 30, "%D9%A3"):
        answer = await get(platform, begun, f"?stream=true&starting_after={number}")
        refusal(answer, 400, "invalid_value", "starting_after")
    cancelled = await platform.call("POST", f"{PATH}/{stored}/cancel")
    refusal(cancelled, 400, "response_not_in_background", "response_id")
    assert "completed" == (await platform.call("POST", f"{PATH}/{begun}/cancel")).json["status"]


async def test_a_refused_method_is_told_all_that_there_are(platform: Running) -> None:
    answer = await platform.call("PUT", f"{PATH}/resp_1")

    assert (405, {"DELETE", "GET", "HEAD"}) == (answer.status, {*answer.headers["allow"].split(", ")})


async def test_a_background_that_is_not_to_be_stored_is_refused(platform: Running) -> None:
    refusal(await ask(platform, background=True, store=False), 400, "invalid_value", "store")


async def test_a_webhook_is_refused_as_for_every_queued_request(platform: Running) -> None:
    asked = await ask(platform, {"x-penstock-webhook": "https://a.example"}, background=True)

    refusal(asked, 400, "unknown_parameter", "webhook")


async def test_options_of_queued_requests_are_granted(platform: Running) -> None:
    refusal(await ask(platform, {"x-penstock-lane": "slow"}, background=True), 400, "invalid_value", "lane")
    answer = await ask(platform, {"x-penstock-lane": "batch"}, background=True)
    told = await platform.call("GET", "/v1/requests/" + answer.json["id"].replace("resp_", "req_"))

    assert "batch" == told.json["lane"]


@pytest.mark.parametrize("fields", [{"model": "gpt-9"}, {"input": []}, {"input": 5}])
async def test_what_is_refused_at_once_is_refused_in_the_background(
    platform: Running, fields: dict[str, Any]
) -> None:
    now, later = await ask(platform, **fields), await ask(platform, background=True, **fields)

    assert (now.status, now.error) == (later.status, later.error)


async def test_a_response_is_deleted_with_all_that_was_said(platform: Running, engine: Upstream) -> None:
    engine.always = answers(HELLO)
    stored = (await ask(platform, store=True)).json["id"]
    begun = (await ask(platform, background=True)).json["id"]
    for name in (stored, begun):
        deleted = await platform.call("DELETE", f"{PATH}/{name}")
        assert {"id": name, "object": "response", "deleted": True} == deleted.json
        refusal(await get(platform, name), 404, "response_not_found", "response_id")
        again = await platform.call("DELETE", f"{PATH}/{name}")
        refusal(again, 404, "response_not_found", "response_id")


async def test_who_follows_may_leave_and_who_cancels_stops_the_engine(
    platform: Running, engine: Upstream
) -> None:
    engine.always = begins(delta("Half "))
    async with platform.connected() as connection:
        body = json.dumps({"model": MODEL, "input": "Hi.", "background": True, "stream": True}).encode()
        await connection.send(request("POST", PATH, body, platform.keyed()))
        head = await connection.head()
        first = await connection.chunk()
    name = json.loads(first.split(b"data: ")[1].split(b"\n")[0])["response"]["id"]

    assert 200 == head.status
    assert "text/event-stream" in head.headers["content-type"]

    async def is_run() -> bool:
        return (await get(platform, name)).json["status"] == "in_progress"

    await eventually(is_run)
    cancelled = (await platform.call("POST", f"{PATH}/{name}/cancel")).json
    assert "cancelled" == cancelled["status"]
    assert cancelled == (await get(platform, name)).json
    await engine.calls[0].left()
