"""In what surroundings the steps of `./penstock test` run."""

from pathlib import Path

import pytest

from tests.run import MEMORY, QUICK, SLOW, environment
from tests.run import pytest as step_of


def test_what_is_compiled_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("ANOTHER", "one")
    with environment(in_memory=False) as told:
        assert "PYTHONDONTWRITEBYTECODE" not in told
        assert "one" == told["ANOTHER"]


def test_quick_tests_write_to_a_folder_in_memory_that_is_gone_after_them() -> None:
    with environment(in_memory=True) as told:
        folder = Path(told.get("TMPDIR", "/"))
        if not folder.is_relative_to(MEMORY):  # this machine has none, or little
            return
        assert folder.is_dir()
    assert not folder.exists()


def test_slow_tests_write_where_others_do() -> None:
    assert step_of(QUICK, []).in_memory
    assert not step_of(SLOW, []).in_memory
