"""The configuration as operators change it and as callers meet it, on a whole platform."""

import asyncio
import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from events.config import Deadlines as Own
from events.config import Model
from services.router.order import Deadlines
from tests.services.router.refusing import refusal
from tests.support import client
from tests.support.client import Response
from tests.support.platform import Running, running
from tests.support.upstream import Upstream, answers, begins, hangs
from tests.support.wire import MODEL, completion, delta

pytestmark = pytest.mark.anyio

OUTSIDE = {"url": "https://far.invalid/v1", "api_key": {"env": "A_KEY_NOBODY_SET"}}


def document(engine: str, models: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"backends": {"pool": {"replicas": [engine]}, "far": OUTSIDE}, "models": models} | more


def written(folder: Path, content: dict[str, Any]) -> str:
    path = folder / "penstock.yaml"
    path.write_text(json.dumps(content))
    return str(path)


async def put(platform: Running, content: object, **headers: str) -> Response:
    named = {"authorization": f"Bearer {platform.admin_key}"} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    body = json.dumps(content).encode()
    return await client.ask(platform.port, "PUT", "/admin/v1/config", body, named)


async def listed(platform: Running) -> list[str]:
    return [row["id"] for row in (await platform.call("GET", "/v1/models")).json["data"]]


def asked_of(engine: Upstream) -> Any:
    return json.loads(engine.calls[-1].body)["model"]


MODELS: dict[str, Any] = {
    MODEL: {"backend": "pool", "served_as": "g:4b", "tasks": ["chat"], "vision": False, "tools": False},
    "far": {"backend": "far", "tasks": ["chat"], "weight": 0},
    "either": {"backend": "far", "fallback": [MODEL]},
}


async def test_callers_name_aliases_and_tasks(tmp_path: Path, engine: Upstream) -> None:
    config = written(tmp_path, document(engine.url, MODELS, aliases={"small": MODEL}))
    async with running(tmp_path, config=config) as platform:
        for name in (MODEL, "small", "task:chat", "either"):
            engine.will(answers(completion()))
            assert 200 == (await platform.chat(model=name)).status
            assert "g:4b" == asked_of(engine)
        row = await platform.usage(4)

    assert MODEL == row["model"]


async def test_a_name_is_listed_where_it_can_be_served(tmp_path: Path, engine: Upstream) -> None:
    config = written(tmp_path, document(engine.url, MODELS, aliases={"small": MODEL, "large": "far"}))
    async with running(tmp_path, config=config) as platform:
        assert ["either", MODEL, "small", "task:chat"] == await listed(platform)
        refusal(await platform.call("GET", "/v1/models/far"), 403, "hosted_not_allowed", "model")
        assert "pool" == (await platform.call("GET", "/v1/models/small")).json["owned_by"]


async def test_prompts_leave_only_for_tenants_for_whom_that_was_turned_on(
    tmp_path: Path, engine: Upstream
) -> None:
    async with running(tmp_path, config=written(tmp_path, document(engine.url, MODELS))) as platform:
        refusal(await platform.chat(model="far"), 403, "hosted_not_allowed", "model")
        queued = json.dumps({"model": "far", "messages": [{"role": "user", "content": "Hi."}]}).encode()
        refusal(await platform.call("POST", "/v1/requests", queued), 403, "hosted_not_allowed", "model")

        changed = await platform.admin("POST", "/tenants/default", {"may_leave": "on"})
        told = refusal(await platform.chat(model="far"), 503, "model_unavailable")
        off = await platform.admin("POST", "/tenants/default", {"may_leave": "off"})
        refusal(await platform.chat(model="far"), 403, "hosted_not_allowed", "model")

    assert [("on", "off"), ("off", "off")] == [(one["may_leave"], one["cache"]) for one in (changed, off)]
    assert "The model far needs A_KEY_NOBODY_SET, which is not set here." == told


async def test_a_model_is_not_asked_for_what_it_cannot(tmp_path: Path, engine: Upstream) -> None:
    async with running(tmp_path, config=written(tmp_path, document(engine.url, MODELS))) as platform:
        image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
        body = {"model": MODEL, "messages": [{"role": "user", "content": image}]}
        told = refusal(
            await platform.call("POST", "/v1/chat/completions", json.dumps(body).encode()),
            400,
            "unsupported_by_model",
            "model",
        )
        tools = [{"type": "function", "function": {"name": "f"}}]
        refusal(await platform.chat(tools=tools), 400, "unsupported_by_model", "model")
        engine.will(answers(completion()))
        assert 200 == (await platform.chat(tools=[])).status

    assert f"The model {MODEL} does not take images." == told


async def test_a_models_own_deadlines_hold_before_the_processs(tmp_path: Path, engine: Upstream) -> None:
    models = {"brisk": {"backend": "pool", "deadlines": {"first_byte_s": 0.1, "idle_s": 0.1}}}
    async with running(tmp_path, config=written(tmp_path, document(engine.url, models))) as platform:
        engine.will(hangs, begins(delta("a")))
        told = refusal(await platform.chat(model="brisk"), 504, "first_byte_timeout")
        cut = await platform.chat(model="brisk", stream=True)

    assert "within 0.1 s" in told
    assert b"idle_timeout" in cut.body


def test_what_a_model_does_not_say_is_the_processs() -> None:
    usual = Deadlines(connect_s=1, first_byte_s=2, idle_s=3, total_s=4)

    assert usual.of(Model(backend="pool")) is None
    assert replace(usual, idle_s=9.0) == usual.of(Model(backend="pool", deadlines=Own(idle_s=9.0)))


# --- applied while it is served


async def test_a_document_is_served_at_once_and_after_every_start(tmp_path: Path, engine: Upstream) -> None:
    async with unnamed(tmp_path) as platform:
        assert 0 == (await platform.admin("GET", "/config"))["version"]
        applied = (await put(platform, document(engine.url, MODELS), if_match='"0"')).json
        engine.will(answers(completion()))
        assert 200 == (await platform.chat()).status

        conflict = await put(platform, document(engine.url, MODELS), if_match='"0"')
        assert (409, "conflict") == (conflict.status, conflict.json["error"]["code"])
        wrong = await put(platform, {"models": {"m": {"backend": "gone"}}, "backends": {}})
        assert "models.m.backend names 'gone'" in wrong.json["error"]["message"]
        refusal(await put(platform, {}, if_match="three"), 400, "invalid_request")
        shown = await platform.admin("GET", "/config")
    assert (1, 1, {"far": "A_KEY_NOBODY_SET, which is not set here"}) == (
        applied["applied"], applied["version"], applied["lacking"]
    )  # fmt: skip
    assert (1, "version 1, applied") == (shown["version"], shown["source"])
    assert "g:4b" == shown["document"]["models"][MODEL]["served_as"]

    async with running(tmp_path) as again:
        engine.will(answers(completion()))
        assert 200 == (await again.chat()).status
        assert 1 == (await again.admin("GET", "/config"))["version"]
        assert await listed(again) == ["either", MODEL, "task:chat"]


@contextlib.asynccontextmanager
async def unnamed(folder: Path) -> Any:
    """A platform with what it finds: most likely nothing, so that it rehearses."""
    async with running(folder, rehearsal_profile="quick") as platform:
        yield platform


async def test_an_engine_that_is_named_wins_and_nothing_is_applied(tmp_path: Path, engine: Upstream) -> None:
    engine.will(answers(json.dumps({"data": [{"id": "found"}]}).encode()))
    async with running(tmp_path, engine=engine.url) as platform:
        refused = await put(platform, document(engine.url, MODELS))
        shown = await platform.admin("GET", "/config")

    assert 409 == refused.status
    assert "--engine: start without it" in refused.json["error"]["message"]
    assert "the engine named at the start" == shown["source"]


async def test_a_file_that_is_named_wins_and_nothing_is_applied(tmp_path: Path, engine: Upstream) -> None:
    path = written(tmp_path, document(engine.url, MODELS))
    async with running(tmp_path, config=path) as platform:
        refused = await put(platform, document(engine.url, MODELS))
        shown = await platform.admin("GET", "/config")

    assert 409 == refused.status
    assert "change that file and start again" in refused.json["error"]["message"]
    assert (0, f"{path} (PENSTOCK_CONFIG), read at the start") == (shown["version"], shown["source"])


async def test_a_queued_request_goes_where_the_document_says_when_it_runs(
    tmp_path: Path, engine: Upstream
) -> None:
    async with unnamed(tmp_path) as platform:
        await put(platform, document(engine.url, {MODEL: {"backend": "pool"}}))
        engine.will(hangs)
        first = await platform.call("POST", "/v1/requests", b'{"model": "%b", "messages": [{"role": "user", '
                                    b'"content": "Hi."}]}' % MODEL.encode())  # fmt: skip
        assert 202 == first.status
        while not engine.calls:
            await asyncio.sleep(0.01)
    # It is queued for a backend that is gone when the platform starts again.
    moved = {"backends": {"moved": {"replicas": [engine.url]}}, "models": {MODEL: {"backend": "moved"}}}
    async with running(tmp_path, config=written(tmp_path, moved)) as platform:
        engine.will(answers(completion("Moved.")))
        answered = (await platform.call("GET", f"/v1/requests/{first.json['id']}?wait=20")).json

    assert "completed" == answered["status"]


@pytest.mark.parametrize("body", [{}, {"cash": "on"}, {"may_leave": "maybe"}])
async def test_what_is_no_switch_of_a_tenant_is_refused(
    shared_platform: Running, body: dict[str, str]
) -> None:
    headers = {"authorization": f"Bearer {shared_platform.admin_key}"}
    path, content = "/admin/v1/tenants/default", json.dumps(body).encode()
    refusal(await client.ask(shared_platform.port, "POST", path, content, headers), 400, "invalid_request")
