"""Which configuration document holds, and what is told of one that cannot."""

import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from events.config import Backend, Config, Model, Secret
from events.words import Invalid
from services.runtime.configuration import Chosen, choose, here_of, read_file
from services.runtime.settings import Settings
from tests.support.platform import config_file
from tests.support.upstream import answers, upstream

pytestmark = pytest.mark.anyio


async def chosen(settings: Settings) -> Chosen:
    async with AsyncExitStack() as stack:
        return await choose(settings, stack)


async def test_a_file_that_is_named_holds(tmp_path: Path) -> None:
    path = config_file(tmp_path, "http://127.0.0.1:1", context=100)
    found = await chosen(Settings(data_dir="", config=path))

    assert {"gemma": Model(backend="pool", context=100)} == found.config.models
    assert path in found.engine


async def test_an_engine_beside_a_file_is_refused(tmp_path: Path) -> None:
    path = config_file(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(Invalid, match="leave --engine and PENSTOCK_ENGINE out, or unset PENSTOCK_CONFIG"):
        await chosen(Settings(data_dir="", config=path, engine="http://127.0.0.1:1"))


async def test_an_engine_that_is_named_holds() -> None:
    async with upstream() as engine:
        engine.will(answers(json.dumps({"data": [{"id": "gemma"}]}).encode()))
        found = await chosen(Settings(data_dir="", engine=engine.url))

        assert {"gemma"} == set(found.config.models)
        assert f"engine at {engine.url} (gemma)" == found.engine


BAD_FILES = {
    "no YAML": (b"models: [", "is not YAML"),
    "no YAML by far": (b"[" * 500, "is not YAML"),
    "no day": (b"version: 2026-13-45\n", "is not YAML"),
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


KEYED = Config(
    backends={
        "env": Backend(url="https://h/v1", api_key=Secret(env="A_KEY")),
        "file": Backend(url="https://h/v1", api_key=Secret(file="/none")),
        "google": Backend(url="https://h/v1", auth="google"),
    },
    models={},
)


def keyed(file: Path) -> Config:
    backend = Backend(url="https://h/v1", api_key=Secret(file=str(file)))
    return Config(backends=KEYED.backends | {"file": backend}, models={})


def test_what_a_document_names_is_looked_for_here(tmp_path: Path) -> None:
    key = tmp_path / "key"
    nothing = here_of(keyed(key), {"A_KEY": ""}, lambda: tmp_path)
    assert (frozenset(), frozenset(), False) == (nothing.variables, nothing.files, nothing.google)

    key.write_text("hush")
    found = here_of(keyed(key), {"A_KEY": "hush", "OTHER": "x"}, lambda: tmp_path)
    assert (frozenset({"A_KEY"}), frozenset({str(key)})) == (found.variables, found.files)
    assert "hush" not in repr(found)


@pytest.mark.parametrize("name", ["GOOGLE_APPLICATION_CREDENTIALS", "K_SERVICE", "KUBERNETES_SERVICE_HOST"])
def test_googles_credentials_come_with_the_place_or_by_name(tmp_path: Path, name: str) -> None:
    assert here_of(KEYED, {name: "x"}, lambda: tmp_path).google


def test_googles_credentials_of_who_is_logged_in_are_found(tmp_path: Path) -> None:
    def nowhere() -> Path:
        raise RuntimeError("There is no home.")

    assert not here_of(KEYED, {}, nowhere).google
    credentials = tmp_path / ".config" / "gcloud" / "application_default_credentials.json"
    credentials.parent.mkdir(parents=True)
    credentials.write_text("{}")
    assert here_of(KEYED, {}, lambda: tmp_path).google
