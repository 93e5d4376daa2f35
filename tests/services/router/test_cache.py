"""Answers that are given again: to whom, how they look, and what is counted of them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import client
from tests.support.client import Response
from tests.support.platform import CHAT, Running, config_file, eventually, running
from tests.support.upstream import Upstream, answers, begins, closes, streams
from tests.support.wire import DONE, chat, completion, delta, event, usage, usage_event

pytestmark = pytest.mark.anyio

ALL = delta("Hel"), event({"choices": [{"index": 0, "delta": {"content": "lo."}, "finish_reason": "stop"}]})


@pytest.fixture
async def cached(tmp_path: Path, engine: Upstream) -> AsyncIterator[Running]:
    """A platform whose tenant turned caching on, and where nothing comes too late."""
    async with caching(tmp_path, engine) as platform:
        yield platform


@asynccontextmanager
async def caching(folder: Path, engine: Upstream, **settings: Any) -> AsyncIterator[Running]:
    settings = {"cache_wait_ms": 1000, "config": config_file(folder, engine.url), **settings}
    async with running(folder, **settings) as platform:
        await platform.admin("POST", "/tenants/default", {"cache": "on"})
        yield platform


async def ask(platform: Running, text: str = "Hi.", control: str = "", **more: Any) -> Response:
    headers = {"cache-control": control} if control else {}
    return await platform.chat(text, headers=headers, **({"temperature": 0} | more))


def status(answer: Response) -> str:
    """What `Cache-Status` says, without the key."""
    parts = [part.strip() for part in answer.headers["cache-status"].split(";")]
    return "; ".join(part for part in parts[1:] if not part.startswith(("key=", "ttl=")))


def key_in(answer: Response) -> str:
    return answer.headers["cache-status"].partition('key="')[2].partition('"')[0]


async def test_the_same_again_is_answered_without_the_engine(cached: Running, engine: Upstream) -> None:
    engine.will(answers(completion("Hello.", usage=usage(7, 3))))
    first, second = await ask(cached), await ask(cached)

    assert ("fwd=miss", "hit; detail=memory") == (status(first), status(second))
    assert (200, first.body, "application/json") == (
        second.status,
        second.body,
        second.headers["content-type"],
    )
    assert 0 <= int(second.headers["age"]) < 60
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert key_in(first) == key_in(second) != ""
    assert 1 == len(engine.calls)


async def test_without_caching_nothing_is_kept_and_nothing_said(platform: Running, engine: Upstream) -> None:
    first, second = await ask(platform), await ask(platform, control="only-if-cached")

    assert 2 == len(engine.calls)
    assert "cache-status" not in first.headers | second.headers


async def test_a_stream_is_replayed_byte_for_byte(cached: Running, engine: Upstream) -> None:
    engine.will(streams(*ALL, usage_event(7, 2), DONE))
    first, second = await ask(cached, stream=True), await ask(cached, stream=True)

    assert b"".join((*ALL, DONE)) == first.body == second.body
    assert "hit; detail=memory" == status(second)
    assert first.headers["content-type"] == second.headers["content-type"]
    assert 1 == len(engine.calls)


async def test_an_answer_is_given_again_only_in_the_framing_it_had(cached: Running, engine: Upstream) -> None:
    engine.will(
        answers(completion()),
        streams(*ALL, usage_event(7, 2), DONE),
        streams(*ALL, usage_event(7, 2), DONE),
    )
    wished = {"stream": True, "stream_options": {"include_usage": True}}
    await ask(cached)
    plain, with_usage = await ask(cached, stream=True), await ask(cached, **wished)

    assert ("fwd=miss", "fwd=miss") == (status(plain), status(with_usage))
    assert plain.body == (await ask(cached, stream=True)).body
    assert with_usage.body == (await ask(cached, **wished)).body
    assert 3 == len(engine.calls)


async def test_a_hit_is_counted_with_nothing_made_for_it(cached: Running, engine: Upstream) -> None:
    engine.will(answers(completion(usage=usage(7, 3))))
    await ask(cached)
    await ask(cached)
    row = await cached.usage(2)

    assert (2, 14, 7, 3, 0) == tuple(
        row[name]
        for name in ("requests", "input_tokens", "cached_tokens", "output_tokens", "estimated_tokens")
    )


async def test_a_hit_leaves_nothing_to_settle(cached: Running) -> None:
    await ask(cached)
    await cached.usage(1)
    async with cached.watching() as watch:
        hit = await ask(cached)
        record = await watch.record("completed")

    assert (f"{hit.headers['x-request-id']}.1", "memory", "finished", True) == tuple(
        record[name] for name in ("attempt", "hit", "outcome", "billed")
    )


async def test_another_router_finds_the_answer_in_the_shared_tier(tmp_path: Path, engine: Upstream) -> None:
    async with caching(tmp_path, engine) as platform, platform.watching() as watch:
        first = await ask(platform, "Where is the weir?")
        offered = await watch.next("cache-offered-v1")
    assert key_in(first) == offered["data"]["key"]

    async with caching(tmp_path, engine) as platform:
        found: list[Response] = []

        async def hit() -> bool:
            found[:] = [await ask(platform, "Where is the weir?", control="only-if-cached")]
            return found[0].status == 200

        await eventually(hit)

    assert ("hit; detail=shared", first.body) == (status(found[0]), found[0].body)
    assert 1 == len(engine.calls)
    assert not [file for file in tmp_path.glob("data.db*") if b"Hello." in file.read_bytes()]


# --- what is not kept

NEVER: dict[str, tuple[dict[str, Any], bytes]] = {
    "an answer of chance": ({"temperature": 0.7}, completion()),
    "one that was cut": (
        {},
        completion(choices=[{"index": 0, "message": {"content": "Hel"}, "finish_reason": "length"}]),
    ),
    "one of two that was cut": (
        {},
        completion(
            choices=[
                {"index": 0, "message": {"content": "Hello."}, "finish_reason": "stop"},
                {"index": 1, "message": {"content": "Hel"}, "finish_reason": "length"},
            ]
        ),
    ),
    "a call of a tool": (
        {},
        completion(
            choices=[{"index": 0, "message": {"tool_calls": [{"id": "1"}]}, "finish_reason": "tool_calls"}]
        ),
    ),
    "a tool's result": ({"messages": [{"role": "tool", "content": "3"}]}, completion()),
    "an empty answer": ({}, completion(choices=[])),
    "a long one": ({}, completion("x" * 600_000)),
}


@pytest.mark.parametrize(("asked", "answer"), NEVER.values(), ids=NEVER)
async def test_it_is_not_kept(
    cached: Running, engine: Upstream, asked: dict[str, Any], answer: bytes
) -> None:
    engine.always = answers(answer)
    for _ in range(2):
        assert (await ask(cached, **asked)).body == answer

    assert 2 == len(engine.calls)


async def test_an_error_is_not_kept(cached: Running, engine: Upstream) -> None:
    engine.will(answers(b'{"error": {"message": "No."}}', 400))
    first, second = await ask(cached), await ask(cached)

    assert (400, 200) == (first.status, second.status)
    assert "fwd=miss" == status(second)


async def test_a_stream_that_broke_off_is_not_kept(cached: Running, engine: Upstream) -> None:
    engine.will(begins(*ALL, then=closes), streams(*ALL, DONE))
    first, second = await ask(cached, stream=True), await ask(cached, stream=True)

    assert b"error" in first.body
    assert "fwd=miss" == status(second)
    assert b"".join((*ALL, DONE)) == second.body


async def test_a_seed_or_the_callers_wish_is_enough(cached: Running, engine: Upstream) -> None:
    for asked, wish in (
        ({"temperature": 1, "seed": 7}, {}),
        ({"temperature": 1}, {"x-penstock-cache": "on"}),
    ):
        for _ in range(2):
            answer = await cached.chat(headers=wish, **asked)
        assert "hit; detail=memory" == status(answer)

    assert 2 == len(engine.calls)


async def test_what_changes_no_answer_makes_no_difference_and_the_rest_does(
    cached: Running, engine: Upstream
) -> None:
    await ask(cached)
    assert "hit; detail=memory" == status(await ask(cached, user="me", metadata={"a": 1}, stream=False))
    for other in ({"top_p": 0.5}, {"never_heard_of": 1}, {"temperature": 0.0}, {"max_tokens": 5}):
        assert "fwd=miss" == status(await ask(cached, **other))


async def test_one_tenants_answers_are_not_anothers(cached: Running, engine: Upstream) -> None:
    await cached.admin("POST", "/tenants", {"id": "acme"})
    await cached.admin("POST", "/tenants/acme", {"cache": "on"})
    other = (await cached.admin("POST", "/keys", {"tenant": "acme"}))["key"]
    mine = await ask(cached)
    theirs = await client.ask(
        cached.port, "POST", CHAT, chat(temperature=0), cached.keyed({"authorization": f"Bearer {other}"})
    )

    assert "fwd=miss" == status(theirs)
    assert key_in(mine) != key_in(theirs)


# --- what the caller demands


async def test_no_store_asks_the_engine_and_keeps_nothing(cached: Running, engine: Upstream) -> None:
    first, second = await ask(cached, control="no-store"), await ask(cached)

    assert ("fwd=bypass", "fwd=miss") == (status(first), status(second))


async def test_no_cache_asks_the_engine_and_keeps_what_it_says(cached: Running, engine: Upstream) -> None:
    engine.will(answers(completion("old")), answers(completion("new")))
    await ask(cached)
    renewed, again = await ask(cached, control="No-Cache"), await ask(cached)

    assert ("fwd=request", completion("new")) == (status(renewed), renewed.body)
    assert completion("new") == again.body


async def test_an_answer_that_is_too_old_is_not_given(cached: Running, engine: Upstream) -> None:
    await ask(cached)
    young, old = await ask(cached, control="max-age=600"), await ask(cached, control="max-age=0")

    assert ("hit; detail=memory", "fwd=request") == (status(young), status(old))


async def test_only_if_cached_makes_nothing(cached: Running, engine: Upstream) -> None:
    refused = await ask(cached, control="only-if-cached")
    by_rule = await ask(cached, control="only-if-cached", temperature=1)
    await ask(cached)
    given = await ask(cached, control="only-if-cached")

    assert (504, 504, 200) == (refused.status, by_rule.status, given.status)
    assert "not_cached" == refused.error["code"]
    assert "false" == refused.headers["x-should-retry"]
    assert 1 == len(engine.calls)


# --- turned off, purged


async def test_turned_off_nothing_is_given(cached: Running, engine: Upstream) -> None:
    await ask(cached)
    off = await cached.admin("POST", "/tenants/default", {"cache": "off"})

    assert "off" == off["cache"]
    assert "cache-status" not in (await ask(cached)).headers
    assert 2 == len(engine.calls)


@pytest.mark.parametrize("scope", ["tenant", "model", "key"])
async def test_what_is_purged_is_made_anew(cached: Running, engine: Upstream, scope: str) -> None:
    first, other = await ask(cached), await ask(cached, "Other.")
    name = {"tenant": "default", "model": "gemma", "key": key_in(first)}[scope]
    async with cached.watching() as watch:
        purged = await cached.admin("POST", "/cache/purge", {scope: name})
        told = await watch.next("cache-purged-v1")

    assert {"scope": scope, "name": name, "effective_within_s": 10} == purged
    assert {"scope": scope, "name": name} == told["data"]
    assert "fwd=miss" == status(await ask(cached))
    assert ("hit" in status(await ask(cached, "Other."))) == (scope == "key")
    assert key_in(other) != key_in(first)


WRONG: dict[str, tuple[str, object, int, str]] = {
    "nothing to purge": ("/cache/purge", {}, 400, "Name one of"),
    "two at once": ("/cache/purge", {"tenant": "a", "model": "b"}, 400, "Name one of"),
    "a word that is not known": ("/cache/purge", {"tenants": "a"}, 400, "tenants"),
    "nobody": ("/tenants/nobody", {"cache": "on"}, 404, "There is no tenant nobody."),
    "half on": ("/tenants/default", {"cache": "half"}, 400, "cache"),
}


@pytest.mark.parametrize(("path", "body", "code", "told"), WRONG.values(), ids=WRONG)
async def test_what_cannot_be_done_is_told(
    platform: Running, path: str, body: object, code: int, told: str
) -> None:
    headers = {"authorization": f"Bearer {platform.admin_key}"}
    answer = await client.ask(platform.port, "POST", f"/admin/v1{path}", json.dumps(body).encode(), headers)

    assert code == answer.status
    assert told in answer.error["message"]


async def test_without_the_engine_what_was_kept_is_still_given(cached: Running, engine: Upstream) -> None:
    first = await ask(cached)
    await engine.refuse()

    assert first.body == (await ask(cached)).body


async def test_a_queued_requests_answer_is_given_to_who_asks_the_same(
    cached: Running, engine: Upstream
) -> None:
    await cached.call("POST", "/v1/requests", chat(temperature=0))
    found: list[Response] = []

    async def hit() -> bool:
        found[:] = [await ask(cached, control="only-if-cached")]
        return found[0].status == 200

    await eventually(hit)

    assert ("hit; detail=shared", completion()) == (status(found[0]), found[0].body)
    assert 1 == len(engine.calls)


async def test_another_name_of_a_model_has_its_answers_and_a_task_of_several_has_none(
    tmp_path: Path, engine: Upstream
) -> None:
    models = {"a": {"backend": "pool", "tasks": ["chat"]}, "b": {"backend": "pool", "tasks": ["chat"]}}
    document = {"backends": {"pool": {"replicas": [engine.url]}}, "models": models, "aliases": {"other": "a"}}
    path = tmp_path / "penstock.yaml"
    path.write_text(json.dumps(document))
    async with caching(tmp_path, engine, config=str(path)) as platform:
        engine.will(*[answers(completion())] * 2)
        statuses = [status(await ask(platform, model=name)) for name in ("a", "other", "task:chat")]

    assert ["fwd=miss", "hit; detail=memory", "fwd=bypass"] == statuses
