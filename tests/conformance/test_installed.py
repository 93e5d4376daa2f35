"""Judges are installed once, what broke off is done again, and a machine without Node is told what to do."""

from pathlib import Path

import pytest

from tests.conformance.installed import missing_node, once


def test_what_is_whole_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[Path] = []
    lock = tmp_path / "lock"
    lock.write_text("one")

    def breaks(place: Path) -> None:
        raise OSError

    with pytest.raises(OSError):
        once("things", lock, breaks)
    first = once("things", lock, made.append)
    second = once("things", lock, made.append)
    lock.write_text("two")
    third = once("things", lock, made.append)

    assert first == second != third
    assert [first, third] == made


@pytest.mark.parametrize(
    ("version", "told"),
    [
        (None, "node and npm are missing here; install Node.js 20"),
        ("v18.20.4", "node is v18.20.4 here; install Node.js 20"),
        ("v20.20.2", "None"),
        ("v101.0.0", "None"),
        ("odd", "node is odd here; install Node.js 20"),
    ],
)
def test_a_machine_is_told_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, told: str
) -> None:
    for name in ("node", "npm") if version else ():
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert str(missing_node()).startswith(told)
