"""Calls with a key that are queued by another way than `POST /v1/requests`: as their caller wished, while no
engine was there, and as responses in the background.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.services.router.idempotency.asking import KEY, said
from tests.services.router.refusing import refusal
from tests.support import wire
from tests.support.client import Response
from tests.support.platform import CHAT, Running, config_file, eventually, running
from tests.support.upstream import Upstream, begins
from tests.support.wire import MODEL, chat, delta

pytestmark = pytest.mark.anyio

QUEUE = KEY | {"x-penstock-cold": "queue"}
RESPONSES = "/v1/responses"
REPLAYED = "idempotent-replayed"


async def respond(platform: Running, text: str = "Hi.", **fields: Any) -> Response:
    body = json.dumps({"model": MODEL, "input": text, "background": True} | fields).encode()
    return await platform.call("POST", RESPONSES, body, KEY)


# --- while no engine is there


async def test_it_is_queued_once_also_where_an_engine_is_back_meanwhile(
    tmp_path: Path, engine: Upstream
) -> None:
    await engine.refuse()
    async with running(tmp_path, config=config_file(tmp_path, engine.url)) as platform:
        first = await platform.call("POST", CHAT, chat(), QUEUE)
        again = await platform.call("POST", CHAT, chat(), QUEUE)
        await engine.listen()
        found = await platform.call("GET", f"{first.headers['location']}?wait=30")
        late = await platform.call("POST", CHAT, chat(), QUEUE)

    assert [202, 202, 202] == [one.status for one in (first, again, late)]
    assert [False, True, True] == [REPLAYED in one.headers for one in (first, again, late)]
    assert {first.json["id"]} == {again.json["id"], late.json["id"], found.json["id"]}
    assert {first.headers["location"]} == {again.headers["location"], late.headers["location"]}
    assert 1 == len(engine.calls)


# --- in the background


async def test_a_response_is_made_once(platform: Running, engine: Upstream) -> None:
    first, again = await respond(platform), await respond(platform)
    await eventually(lambda: _status(platform, first.json["id"], "completed"))
    late = await respond(platform)

    assert [False, True, True] == [REPLAYED in one.headers for one in (first, again, late)]
    assert {first.json["id"]} == {again.json["id"], late.json["id"]}
    assert "completed" == late.json["status"]
    assert 1 == len(engine.calls)


async def _status(platform: Running, name: str, status: str) -> bool:
    return bool(status == (await platform.call("GET", f"{RESPONSES}/{name}")).json["status"])


async def test_another_body_under_its_key_is_refused(platform: Running) -> None:
    await respond(platform)

    assert (422, "idempotency_key_reused") == said(await respond(platform, "Else."))
    assert (422, "idempotency_key_reused") == said(await respond(platform, background=False))


async def test_a_key_that_is_none_is_refused(platform: Running) -> None:
    body = json.dumps({"model": MODEL, "input": "Hi.", "background": True}).encode()
    refusal(
        await platform.call("POST", RESPONSES, body, {"idempotency-key": ""}),
        400,
        "invalid_idempotency_key",
        "idempotency-key",
    )


async def test_a_stream_is_told_on_by_whoever_is_asked_again(tmp_path: Path, engine: Upstream) -> None:
    """A process that stops breaks its streams off; what it began goes on, and is not begun twice."""
    engine.always = begins(delta("Hel"))
    body = json.dumps({"model": MODEL, "input": "Hi.", "background": True, "stream": True}).encode()
    names = []
    for _ in range(2):
        config = config_file(tmp_path, engine.url)
        async with running(tmp_path, config=config) as platform, platform.connected() as client:
            await client.send(wire.request("POST", RESPONSES, body, platform.keyed(KEY)))
            assert 200 == (await client.head()).status
            told = json.loads((await client.chunk()).partition(b"data: ")[2])
            names.append(told["response"]["id"])

    assert names[0] == names[1]
