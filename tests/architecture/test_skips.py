"""CI skips nothing, and a skip says what the machine lacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each runs a pytest of its own

ROOT = Path(__file__).parents[2]

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


def run(folder: Path, *, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_them.py").write_text(TESTS)
    options = ("-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "-c", os.devnull)
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(folder)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"CI": ci},
    )


def test_a_skip_fails_the_run_in_ci_which_lists_it(tmp_path: Path) -> None:
    ended = run(tmp_path, ci="true")
    told = [line for line in ended.stdout.splitlines() if line.startswith("CI skips nothing")]
    assert 1 == ended.returncode
    assert 1 == len(told)
    assert told[0].endswith("test_them.py::test_skipped")


def test_elsewhere_a_skip_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    ended = run(tmp_path, ci="")
    assert 0 == ended.returncode
    assert "no-such-program is missing here; apt install no-such-package" in ended.stdout
