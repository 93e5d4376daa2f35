import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.cli.ours import ROOT, check_packages

CHECK = "from services.cli.ours import check_packages; check_packages()"


def checking(code: str = CHECK, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


def foreign(folder: Path, name: str, text: str = '"""Somebody else\'s."""\n') -> str:
    """A search path on which a package of that name comes before ours."""
    package = folder / name
    package.mkdir()
    (package / "__init__.py").write_text(text)
    return os.pathsep.join((str(folder), str(ROOT)))


def copied(folder: Path) -> Path:
    """Our packages, installed side by side in another place."""
    for name in ("events", "functions", "services"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_our_own_packages_pass() -> None:
    check_packages()


@pytest.mark.slow
def test_our_own_packages_pass_in_another_process() -> None:
    assert 0 == checking().returncode


@pytest.mark.slow
@pytest.mark.parametrize("name", ["events", "functions"])
def test_an_intruder_is_named_with_its_place_and_what_to_do(tmp_path: Path, name: str) -> None:
    ended = checking(PYTHONPATH=foreign(tmp_path, name))
    told = ended.stderr.splitlines()[-1]
    assert 0 != ended.returncode
    assert f"{name!r} at {tmp_path / name / '__init__.py'} is not Penstock's" in told
    assert str(ROOT / name) in told
    assert "PYTHONPATH" in told


@pytest.mark.slow
def test_no_code_of_an_intruder_is_run(tmp_path: Path) -> None:
    ended = checking(PYTHONPATH=foreign(tmp_path, "events", 'print("I ran.")'))
    assert "" == ended.stdout


@pytest.mark.slow
def test_an_intruder_somebody_installed_is_named_by_its_distribution(tmp_path: Path) -> None:
    path = foreign(tmp_path, "events")
    installed = tmp_path / "Events-0.5.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: Events\nVersion: 0.5\n")
    (installed / "top_level.txt").write_text("events\n")
    (installed / "RECORD").write_text("events/__init__.py,,\n")
    told = checking(PYTHONPATH=path).stderr.splitlines()[-1]
    assert "belongs to Events, not to Penstock" in told
    assert "Uninstall" in told


@pytest.mark.slow
@pytest.mark.parametrize("name", ["events", "functions", "services"])
def test_a_package_that_was_written_over_in_place_is_noticed(tmp_path: Path, name: str) -> None:
    ours = copied(tmp_path)
    (ours / name / "__init__.py").write_text('"""Somebody else\'s, installed into the same folder."""\n')
    ended = checking(PYTHONPATH=str(ours))
    assert f"The package {name!r}" in ended.stderr


@pytest.mark.slow
def test_a_package_without_its_own_file_is_noticed(tmp_path: Path) -> None:
    ours = copied(tmp_path)
    (ours / "events" / "__init__.py").unlink()
    ended = checking(
        f"import sys; sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]\n{CHECK}",
        PYTHONPATH=str(ours),
    )
    assert "The package 'events'" in ended.stderr


@pytest.mark.slow
def test_a_missing_package_is_noticed(tmp_path: Path) -> None:
    ours = copied(tmp_path)
    shutil.rmtree(ours / "functions")
    ended = checking(
        f"import sys; sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]\n{CHECK}",
        PYTHONPATH=str(ours),
    )
    assert "'functions' is missing" in ended.stderr


@pytest.mark.slow
def test_a_folder_that_is_reached_by_a_link_is_still_ours(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(ROOT)
    assert 0 == checking(PYTHONPATH=str(link)).returncode


def test_the_check_costs_less_than_two_milliseconds() -> None:
    best_s = min(timed() for _ in range(20))
    assert best_s < 0.002


def timed() -> float:
    began = time.perf_counter()
    check_packages()
    return time.perf_counter() - began
