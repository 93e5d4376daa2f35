"""Which configuration document holds, and what is told of one that cannot."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from events.config import Backend, Config, Model
from events.words import Invalid
from services.embedded.engines import config_of, named_engine, probe
from services.runtime.configuration import choose, read_file
from services.runtime.settings import Settings
from tests.support.platform import config_file
from tests.support.upstream import Upstream, answers, closes, hangs, says, unreachable, upstream

pytestmark = pytest.mark.anyio

MODELS = {"data": [{"id": "gemma3:4b"}, {"id": "nomic-embed-text"}, {"id": ""}]}


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


async def probed(engine: Upstream, models: object = MODELS, **more: Any) -> Any:
    engine.will(answers(json.dumps(models).encode(), **more))
    return await anyio.to_thread.run_sync(probe, "engine", engine.url, 5.0)


async def test_a_file_that_is_named_holds(tmp_path: Path) -> None:
    path = config_file(tmp_path, "http://127.0.0.1:1", context=100)
    async with AsyncExitStack() as stack:
        chosen = await choose(Settings(data_dir="", config=path, engine="http://never.asked"), stack)

    assert {"gemma": Model(backend="pool", context=100)} == chosen.config.models
    assert path in chosen.engine


BAD_FILES = {
    "no YAML": (b"models: [", "is not YAML"),
    "no text": (b"\xff\xfe", "is not UTF-8 text"),
    "nothing": (b"", "not valid"),
    "a list": (b"[]", "not valid"),
    "an unknown field": (b"backends: {}\nmodels: {}\ncolour: red\n", "colour"),
    "no models": (b'backends: {p: {replicas: ["http://a:1"]}}\nmodels: {}\n', "at least one model"),
    "a backend that is not there": (b"backends: {}\nmodels: {m: {backend: p}}\n", "models.m.backend"),
    "no replicas": (b"backends: {p: {replicas: []}}\nmodels: {m: {backend: p}}\n", "backends.p.replicas"),
    "a bad url": (b'backends: {p: {replicas: ["a:1"]}}\nmodels: {m: {backend: p}}\n', "'a:1'"),
}


@pytest.mark.parametrize(("content", "told"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_cannot_hold_is_told_with_the_reason(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)

    with pytest.raises(Invalid, match=told):
        read_file(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"PENSTOCK_CONFIG: .* cannot be read: No such file"):
        read_file(tmp_path / "nothing.yaml")


async def test_an_engine_is_asked_for_its_models(engine: Upstream) -> None:
    found = await probed(engine)

    assert ("engine", engine.url, ("gemma3:4b",)) == (found.name, found.url, found.models)
    assert engine.calls[0].head.startswith(b"GET /v1/models ")


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
    "hangs": hangs,
}


@pytest.mark.parametrize("script", SILENT.values(), ids=SILENT)
async def test_what_does_not_speak_the_wire_is_no_engine(engine: Upstream, script: Any) -> None:
    engine.will(script)

    assert await anyio.to_thread.run_sync(probe, "x", engine.url, 0.1) is None


async def test_what_cannot_be_reached_is_no_engine(engine: Upstream) -> None:
    await engine.refuse()
    assert await anyio.to_thread.run_sync(probe, "x", engine.url, 0.1) is None
    with unreachable() as url:
        assert await anyio.to_thread.run_sync(probe, "x", url, 0.1) is None


async def test_a_named_engine_may_be_named_with_a_path(engine: Upstream) -> None:
    engine.will(answers(json.dumps(MODELS).encode()))

    assert engine.url == (await anyio.to_thread.run_sync(named_engine, f"{engine.url}/v1/")).url


@pytest.mark.parametrize(
    "url", ["", "localhost:11434", "https://secure", "ftp://x", "http://", "http://a:port", "http://a:99999"]
)
def test_a_named_engine_needs_a_base_url(url: str) -> None:
    with pytest.raises(Invalid, match="is not a base URL like"):
        named_engine(url)


async def test_a_named_engine_that_does_not_answer_is_told(engine: Upstream) -> None:
    await engine.refuse()

    with pytest.raises(Invalid, match="Start it, then try again"):
        await anyio.to_thread.run_sync(named_engine, engine.url)


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
