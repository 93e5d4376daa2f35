"""The data folder: closed to others, one platform's alone, and telling of no platform that is dead."""

import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.words import Conflict, Invalid
from services.adapters.local.folder import DataFolder, Running

HERE = Running(url="http://127.0.0.1:4747", metrics_url="http://127.0.0.1:9090", pid=1)

# A platform's announcement, and an end like that of `kill -9`.
DIES = """
import os, sys
from pathlib import Path
from services.adapters.local.folder import DataFolder, Running
folder = DataFolder(Path(sys.argv[1]))
folder.prepare()
folder.lock()
folder.announce(Running(url="http://127.0.0.1:4747", metrics_url="", pid=os.getpid()))
os._exit(9)
"""


@pytest.fixture(autouse=True)
def open_handed() -> Iterator[None]:
    """A umask that keeps nothing from anybody, so that only the code under test does."""
    earlier = os.umask(0)
    yield
    os.umask(earlier)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def live(path: Path) -> DataFolder:
    """The folder of a platform that serves."""
    folder = DataFolder(path)
    folder.prepare()
    folder.lock()
    folder.announce(HERE)
    return folder


def test_a_new_folder_is_its_owners_alone(tmp_path: Path) -> None:
    folder = live(tmp_path / "data")

    assert 0o700 == mode(folder.path)
    assert {0o600} == {mode(file) for file in folder.path.iterdir()}
    folder.unlock()


def test_a_data_folder_that_was_open_is_closed_and_that_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data"
    path.mkdir(mode=0o755)
    for name in ("lock", "data.db", "data.db-wal"):
        (path / name).touch(mode=0o644)
    with caplog.at_level(logging.WARNING):
        DataFolder(path).prepare()

    assert 0o700 == mode(path)
    assert [0o600, 0o600] == [mode(path / "data.db"), mode(path / "data.db-wal")]
    assert "open to other users" in caplog.text
    caplog.clear()
    DataFolder(path).prepare()
    assert "" == caplog.text


def test_an_empty_folder_that_was_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o777)
    DataFolder(tmp_path / "data").prepare()

    assert 0o700 == mode(tmp_path / "data")


def test_an_open_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "project"
    path.mkdir(mode=0o755)
    (path / "README.md").touch(mode=0o644)
    with pytest.raises(Invalid, match=f"such as: --data-dir {path}/penstock"):
        DataFolder(path).prepare()

    assert (0o755, 0o644) == (mode(path), mode(path / "README.md"))


def test_a_lock_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(Invalid, match="lock cannot be locked: Is a directory"):
        DataFolder(tmp_path).lock()


def test_a_living_platform_is_found_and_keeps_others_out(tmp_path: Path) -> None:
    folder = live(tmp_path)

    assert HERE == DataFolder(tmp_path).running()
    with pytest.raises(Conflict, match=f"at {HERE.url} \\(pid 1\\)"):
        DataFolder(tmp_path).lock()
    folder.unlock()


@pytest.mark.parametrize("end", [DataFolder.withdraw, DataFolder.unlock])
def test_a_platform_that_ends_is_found_no_more(tmp_path: Path, end: object) -> None:
    folder = live(tmp_path)
    assert callable(end)
    end(folder)

    assert DataFolder(tmp_path).running() is None
    assert not (tmp_path / "running.json").exists()
    folder.unlock()


def test_what_a_killed_platform_announced_is_not_believed(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-P", "-c", DIES, str(tmp_path)], check=False)
    left = (tmp_path / "running.json").read_bytes()

    assert 9 == killed.returncode
    assert HERE.url.encode() in left
    assert DataFolder(tmp_path).running() is None
    folder = live(tmp_path)
    assert HERE == DataFolder(tmp_path).running()
    folder.unlock()


def test_a_platform_starts_while_somebody_looks_at_what_its_predecessor_left(tmp_path: Path) -> None:
    (tmp_path / "running.json").write_text("{}")
    with (tmp_path / "running.json").open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        folder = live(tmp_path)

        assert HERE == DataFolder(tmp_path).running()
        folder.unlock()


@pytest.mark.parametrize("content", [b"", b"hello", b"[]", b"\xff", b'{"url": 5}'])
def test_an_announcement_that_says_nothing_is_no_platform(tmp_path: Path, content: bytes) -> None:
    folder = live(tmp_path)
    (tmp_path / "running.json").write_bytes(content)

    assert DataFolder(tmp_path).running() is None
    folder.unlock()


def test_an_announcement_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "running.json").mkdir()
    with pytest.raises(Invalid, match=r"running\.json cannot be read: Is a directory"):
        DataFolder(tmp_path).running()
