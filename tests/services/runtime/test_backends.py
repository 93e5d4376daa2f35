"""Where the keys of hosted backends come from."""

import logging
import sys
from pathlib import Path

import pytest

from events.config import Backend, Config, Model, Secret
from events.words import Unavailable
from services.pool.credentials import Grant
from services.runtime.backends import fetch_of, pools

pytestmark = pytest.mark.anyio

URL = "https://host/v1"


async def fetched(backend: Backend) -> bytes:
    found = fetch_of(backend)
    assert found is not None
    return (await found[1]()).line


def by_file(path: Path) -> Backend:
    return Backend(url=URL, api_key=Secret(file=str(path)))


async def test_a_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Backend(url=URL, api_key=Secret(env="A_KEY"))
    monkeypatch.setenv("A_KEY", "hush")
    assert b"authorization: Bearer hush\r\n" == await fetched(backend)
    monkeypatch.delenv("A_KEY")
    with pytest.raises(Unavailable):
        await fetched(backend)


async def test_a_key_in_a_file_is_the_one_that_is_there_now(tmp_path: Path) -> None:
    file = tmp_path / "key"
    for key in ("one", "two"):
        file.write_text(f"{key}\n")
        assert b"authorization: Bearer %b\r\n" % key.encode() == await fetched(by_file(file))


@pytest.mark.parametrize("content", [b"", b"two\nlines", b"\xff\xfe", b"x y"])
async def test_a_file_that_holds_no_key_is_told_without_its_content(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(Unavailable) as told:
        await fetched(by_file(file))
    assert "lines" not in str(told.value)


async def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="FileNotFoundError"):
        await fetched(by_file(tmp_path / "nothing"))


def test_who_needs_no_key_has_none() -> None:
    assert fetch_of(Backend(url="http://localhost:8000/v1")) is None


async def test_without_googles_library_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "services.adapters.google.tokens", raising=False)
    monkeypatch.setitem(sys.modules, "google.auth", None)  # as if it were not installed
    with pytest.raises(Unavailable, match=r"install penstock\[cloud\]"):
        await fetched(Backend(url=URL, auth="google"))


async def test_keys_go_on_from_one_version_of_the_document_to_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "key"
    file.write_text("hush-hush")
    config = Config(backends={"out": by_file(file)}, models={"m": Model(backend="out")})
    make = pools()
    first = make(config)
    assert {"out": f"the key in the file {file}, which is not there yet"} == first.lacking()
    first.start()
    credentials = first._needs["out"]
    await credentials.renew()  # type: ignore[attr-defined]
    second = make(config)
    assert {} == second.lacking()
    second.start()
    first.close()
    assert {} == second.lacking()
    second.close()
    assert isinstance(await fetch_of(by_file(file))[1](), Grant)  # type: ignore[index]
    assert "hush-hush" not in caplog.text
