"""CI skips nothing, and a skip says what the machine lacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest
from tests.needs import needs

@needs("no-such-program", "apt install no-such-package")
def test_skipped(): ...

@pytest.mark.xfail(reason="known")
def test_expected_to_fail():
    raise AssertionError

def test_passes(): ...
"""


def run(folder: Path, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_them.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "tests.conftest", "-c", os.devnull, str(folder)]
    root = Path(__file__).parents[2]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=root, env=os.environ | {"CI": ci}
    )


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_a_skip_fails_only_in_ci(tmp_path: Path, ci: str, code: int) -> None:
    assert code == run(tmp_path, ci).returncode


def test_ci_lists_what_was_skipped(tmp_path: Path) -> None:
    told = [line for line in run(tmp_path, "true").stdout.splitlines() if line.startswith("CI skips nothing")]
    assert 1 == len(told)
    assert told[0].endswith("test_them.py::test_skipped")


def test_a_skip_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    assert "no-such-program is missing here; apt install no-such-package" in run(tmp_path, "").stdout
