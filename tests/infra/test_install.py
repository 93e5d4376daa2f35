"""Real installs of a repository whose locks list nothing."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.launcher import SmallRepository

pytestmark = pytest.mark.slow

RUNS = "services.cli.main"

# uv is a convenience: where it is missing, pip's way is the only one there is, and the only one to test.
TOOLS = ["pip", "uv"] if shutil.which("uv") else ["pip"]


@pytest.fixture(scope="module", params=TOOLS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SmallRepository:
    """Not installed yet when the first test of this module begins; its path has a space and an umlaut."""
    path = os.environ["PATH"] if request.param == "uv" else ""
    return SmallRepository(tmp_path_factory.mktemp("a place for Jürgen"), path)


@pytest.fixture
def installed(place: SmallRepository) -> Iterator[SmallRepository]:
    """As after a first start, also for the next test."""
    place.start()
    yield place
    for lock in ("base", "dev", "all"):
        place.write_lock(lock, "# Nothing.\n")


def test_the_first_start_installs_says_so_beside_and_then_runs(place: SmallRepository) -> None:
    code, output, told = place.start("up", "--json")
    assert (0, f"{RUNS} up --json\n") == (code, output)
    assert all(line.startswith("penstock: ") for line in told.splitlines())
    assert "infra/locks/base.txt" in told


def test_a_later_start_says_nothing_and_needs_nothing(installed: SmallRepository) -> None:
    assert (0, f"{RUNS} up\n", "") == installed.start("up", PATH="", PIP_NO_INDEX="1", UV_OFFLINE="1")


def test_it_starts_through_a_link_and_from_a_folder_with_packages_of_the_same_names(
    installed: SmallRepository, tmp_path: Path
) -> None:
    link = tmp_path / "elsewhere"
    link.symlink_to(installed.launcher)
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "__init__.py").write_text("raise SystemExit('not ours')")
    assert (0, f"{RUNS}\n", "") == installed.start(launcher=link, cwd=tmp_path)


def test_the_environment_has_the_command_too(installed: SmallRepository) -> None:
    command = [str(installed.venv / "bin" / "penstock"), "up"]
    assert f"{RUNS} up\n" == subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_test_installs_the_tools_and_hands_its_arguments_on(installed: SmallRepository) -> None:
    code, output, told = installed.start("test", "-x")
    assert (0, "tests -x\n") == (code, output)
    assert "infra/locks/dev.txt" in told
    assert (0, "tests\n", "") == installed.start("test")


def test_more_tests_need_more_tools(installed: SmallRepository) -> None:
    code, output, told = installed.start("test", "--all")
    assert (0, "tests --all\n") == (code, output)
    assert "infra/locks/all.txt" in told
    assert (0, "tests --soak\n", "") == installed.start("test", "--soak")


def test_a_changed_lock_is_installed(installed: SmallRepository) -> None:
    installed.write_lock("base", "# Nothing, in other words.\n")
    assert "infra/locks/base.txt" in installed.start()[2]
    assert "" == installed.start()[2]


def test_a_failed_install_says_so_runs_nothing_and_is_taken_up_again(installed: SmallRepository) -> None:
    installed.write_lock("base", f"no-such-package==1 --hash=sha256:{'0' * 64}\n")
    code, output, told = installed.start(PIP_NO_INDEX="1", UV_OFFLINE="1", UV_NO_INDEX="1")
    assert (1, "") == (code, output)
    assert "the lines above say why" in told.splitlines()[-1]
    installed.write_lock("base", "# Nothing, once more.\n")
    assert 0 == installed.start()[0]


def test_an_install_that_was_broken_off_is_done_anew(installed: SmallRepository) -> None:
    (installed.venv / "penstock-base.stamp").unlink()
    mark = installed.root / ".venv.lock"
    mark.write_text("installing\n")
    assert "infra/locks/base.txt" in installed.start()[2]
    assert "" == mark.read_text()


def test_an_environment_whose_python_is_gone_is_replaced(installed: SmallRepository) -> None:
    python = installed.venv / "bin" / "python"
    python.unlink()
    python.symlink_to(installed.root / "no-such-python")
    code, output, told = installed.start()
    assert (0, f"{RUNS}\n") == (code, output)
    assert "replacing" in told


def test_a_repository_may_be_moved(installed: SmallRepository) -> None:
    elsewhere = installed.root.with_name("moved")
    installed.root.rename(elsewhere)
    try:
        code, output, told = installed.start(launcher=elsewhere / "penstock")
        assert (0, f"{RUNS}\n") == (code, output)
        assert str(elsewhere) in told
    finally:
        elsewhere.rename(installed.root)


def test_of_two_first_starts_at_once_one_installs_and_both_run(place: SmallRepository) -> None:
    shutil.rmtree(place.venv, ignore_errors=True)
    both = [place.popen(name) for name in ("a", "b")]
    ended = [process.communicate(timeout=120) for process in both]
    assert [f"{RUNS} a\n", f"{RUNS} b\n"] == [output for output, _ in ended]
    assert 1 == sum("infra/locks/base.txt" in told for _, told in ended)


def test_without_venv_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['ensurepip'] = None\n")
    place = SmallRepository(tmp_path / "place", path="")
    code, output, told = place.start(PYTHONPATH=str(tmp_path))
    assert (1, "") == (code, output)
    assert "apt install python3-venv" in told
