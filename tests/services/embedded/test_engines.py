"""Which engine is found: what counts as one, how long the search may take, and whom it can hold up."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from events.config import Backend, Config, Model
from events.words import Invalid
from services.embedded.engines import Engine, config_of, find_engine, named_engine, probe
from tests.support.upstream import Call, Upstream, answers, closes, hangs, says, unreachable, upstream
from tests.support.wire import BARE_STREAM_HEAD, STREAM_HEAD, chunked

pytestmark = pytest.mark.anyio

MODELS = {"data": [{"id": "gemma3:4b"}, {"id": "nomic-embed-text"}, {"id": ""}]}
SOON_S = 0.2
PATIENCE_S = 5.0  # far more than any search takes


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


def has(*models: str) -> Any:
    """A script that answers with these models."""
    return answers(json.dumps({"data": [{"id": model} for model in models]}).encode())


async def drips(call: Call) -> None:
    """Sends a byte now and then, for ever: no pause is long, the whole never ends."""
    await call.send(STREAM_HEAD)
    while not call.gone.is_set():
        await call.send(b"1\r\n \r\n")
        await asyncio.sleep(0.01)


async def probed(engine: Upstream, models: object = MODELS, **more: Any) -> Any:
    engine.will(answers(json.dumps(models).encode(), **more))
    return await probe("engine", engine.url, PATIENCE_S)


async def test_an_engine_is_asked_for_its_models(engine: Upstream) -> None:
    found = await probed(engine)

    assert ("engine", engine.url, ("gemma3:4b",)) == (found.name, found.url, found.models)
    assert engine.calls[0].head.startswith(b"GET /v1/models ")
    assert f"127.0.0.1:{engine.port}" == engine.calls[0].headers["host"]


BODY = json.dumps(MODELS).encode()
FRAMINGS = {
    "in chunks": says(STREAM_HEAD, *chunked([BODY[:5], BODY[5:]])),
    "until it closes": says(BARE_STREAM_HEAD, BODY, then=closes),
}


@pytest.mark.parametrize("script", FRAMINGS.values(), ids=FRAMINGS)
async def test_an_answer_may_come_in_any_framing(engine: Upstream, script: Any) -> None:
    engine.will(script)
    found = await probe("engine", engine.url, PATIENCE_S)

    assert found is not None
    assert ("gemma3:4b",) == found.models


async def test_an_engines_context_is_read_where_it_tells(engine: Upstream) -> None:
    rows = [
        {"id": "vllm", "max_model_len": 4096},
        {"id": "llama", "meta": {"n_ctx_train": 8192}},
        {"id": "ollama", "meta": None},
    ]
    found = await probed(engine, {"data": rows})

    assert {"vllm": 4096, "llama": 8192} == found.context
    assert (4096, None) == (
        config_of(found).models["vllm"].context,
        config_of(found).models["ollama"].context,
    )


NO_ENGINE = {
    "no model": {"data": []},
    "embeddings only": {"data": [{"id": "nomic-embed-text"}]},
    "another shape": {"models": []},
    "no object": [],
    "names that are none": {"data": [{"id": 5}]},
}


@pytest.mark.parametrize("models", NO_ENGINE.values(), ids=NO_ENGINE)
async def test_what_has_no_usable_model_is_no_engine(engine: Upstream, models: object) -> None:
    assert await probed(engine, models) is None


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_what_answers_with_an_error_is_no_engine(engine: Upstream, status: int) -> None:
    assert await probed(engine, status=status) is None


SILENT = {
    "closes": closes,
    "no HTTP": says(b"220 smtp\r\n", then=closes),
    "no JSON": answers(b"<html>"),
    "no text": answers(b'{"data": [{"id": "\xff"}]}'),
    "depth": answers(b'{"data": ' + b"[" * 20_000),
    "another protocol": says(b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
    "hangs": hangs,
    "drips": drips,
}


@pytest.mark.parametrize("script", SILENT.values(), ids=SILENT)
async def test_what_does_not_speak_the_wire_is_no_engine(engine: Upstream, script: Any) -> None:
    engine.will(script)

    assert await probe("x", engine.url, SOON_S) is None


async def test_what_cannot_be_reached_is_no_engine(engine: Upstream) -> None:
    await engine.refuse()
    assert await probe("x", engine.url, SOON_S) is None
    with unreachable() as url:
        assert await probe("x", url, SOON_S) is None


async def test_a_named_engine_may_be_named_with_a_path(engine: Upstream) -> None:
    engine.will(answers(json.dumps(MODELS).encode()))

    assert engine.url == (await named_engine(f"{engine.url}/v1/")).url


NO_BASES = {
    "nothing": "",
    "no scheme": "localhost:11434",
    "TLS": "https://secure",
    "another scheme": "ftp://x",
    "no host": "http://",
    "no port": "http://a:port",
    "a port too high": "http://a:99999",
    "a name and a word": "http://me:secret@a:1",
    "a space": "http://a b:1",
    "a line": "http://a:1\nx: y",
    "other letters": "http://\u043c\u0430\u0448\u0438\u043d\u0430:1",
    "no text": "http://\udcff:1",
}


@pytest.mark.parametrize("url", NO_BASES.values(), ids=NO_BASES)
async def test_a_named_engine_needs_a_base_url(url: str) -> None:
    with pytest.raises(Invalid, match="is not a base URL like"):
        await named_engine(url)


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "no.such.host.invalid"])
async def test_a_named_engine_on_a_host_that_cannot_be_is_told(host: str) -> None:
    with pytest.raises(Invalid, match="No engine with a model answers"):
        await named_engine(f"http://{host}:1")


async def test_a_named_engine_that_does_not_answer_is_told(engine: Upstream) -> None:
    await engine.refuse()

    with pytest.raises(Invalid, match="Start it, then try again"):
        await named_engine(engine.url)


async def test_a_rehearsal_says_so_in_its_document(engine: Upstream) -> None:
    assert not config_of(await probed(engine)).backends["pool"].rehearsal
    rehearsed = config_of(await probed(engine), rehearsal=True)

    assert (
        Config(
            backends={"rehearsal": Backend(replicas=(engine.url,), rehearsal=True)},
            models={"gemma3:4b": Model(backend="rehearsal")},
        )
        == rehearsed
    )


async def test_the_first_place_with_a_model_is_found(engine: Upstream) -> None:
    async with upstream() as empty, upstream() as other:
        empty.always, engine.always, other.always = has(), has("gemma"), has("phi")
        places = [("empty", empty.url), ("engine", engine.url), ("other", other.url)]

        assert Engine(name="engine", url=engine.url, models=("gemma",)) == await find_engine(places)


@pytest.mark.parametrize("script", [drips, hangs], ids=["drips", "hangs"])
async def test_a_place_that_never_ends_holds_nobody_up(engine: Upstream, script: Any) -> None:
    async with upstream() as behind:
        engine.always, behind.always = script, has("gemma")
        places = [("silent", engine.url), ("behind", behind.url)]
        found = await find_engine(places, SOON_S)

        assert found is not None
        assert "behind" == found.name
        async with asyncio.timeout(PATIENCE_S):
            assert found == await find_engine(places[::-1], 10 * PATIENCE_S)


async def test_all_places_are_asked_at_once(engine: Upstream) -> None:
    engine.always = hangs
    began = time.monotonic()
    assert await find_engine([(str(number), engine.url) for number in range(100)], SOON_S) is None

    assert time.monotonic() - began < 100 * SOON_S / 2
    assert 100 == engine.accepted


async def test_the_loop_goes_on_while_places_are_asked(engine: Upstream) -> None:
    engine.always = drips
    search = asyncio.create_task(find_engine([("drips", engine.url)], 10 * PATIENCE_S))
    call = await engine.call()
    search.cancel()
    with pytest.raises(asyncio.CancelledError):
        await search

    await call.left()
