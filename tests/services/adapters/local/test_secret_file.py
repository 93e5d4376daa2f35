"""Secrets in files: made once, whole, and for their owner alone."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.words import Invalid
from services.adapters.local.secret_file import read_or_create, write


@pytest.fixture(autouse=True)
def open_handed() -> Iterator[None]:
    earlier = os.umask(0)
    yield
    os.umask(earlier)


def never() -> str:
    raise AssertionError


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "key"

    assert "one" == read_or_create(path, lambda: "one")
    assert "one" == read_or_create(path, never)
    assert 0o600 == path.stat().st_mode & 0o777
    assert [path] == list(tmp_path.iterdir())


def test_a_secret_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("one\n")
    write(path, "two")

    assert "two" == read_or_create(path, never)
    assert 0o600 == path.stat().st_mode & 0o777


def test_drafts_that_a_crash_left_are_in_nobodys_way(tmp_path: Path) -> None:
    for name in (f".key.{os.getpid()}", ".key.abc"):
        (tmp_path / name).write_text("half")
    (tmp_path / ".keys").write_text("another's")

    assert "one" == read_or_create(tmp_path / "key", lambda: "one")
    assert {"key", ".keys"} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", "ключ".encode()], ids=repr)
def test_a_file_that_holds_no_secret_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(Invalid, match="key holds no key: restore it"):
        read_or_create(tmp_path / "key", never)


def test_a_file_that_cannot_be_read_or_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(Invalid, match="key cannot be read: Is a directory"):
        read_or_create(tmp_path / "key", never)
    with pytest.raises(Invalid, match="key cannot be written: No such file or directory"):
        read_or_create(tmp_path / "nowhere" / "key", lambda: "one")
