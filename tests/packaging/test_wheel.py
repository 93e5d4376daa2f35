"""The wheel: what is in it, and that it serves without the repository."""

import os
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from infra.install import install_lock, installer, make_venv, python_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this repository."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def penstock(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in a fresh environment that holds the base lock, the wheel and nothing else."""
    venv = tmp_path_factory.mktemp("fresh") / "venv"
    make_venv(venv, again=False)
    install_lock(venv, ROOT / "infra" / "locks" / "base.txt", again=False)
    subprocess.run([*installer(venv), "--no-deps", str(wheel)], check=True)
    return python_of(venv).with_name("penstock")


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, object]:
    """How to start a process that knows nothing of the repository: an empty folder, no search path."""
    empty = tmp_path / "empty"
    empty.mkdir()
    return {
        "cwd": empty,
        "env": {name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "text": True,
    }


def test_the_wheel_holds_the_three_packages_and_the_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.partition("/")[0] for name in names}
    assert {"events", "functions", "services"} == {name for name in folders if "." not in name}
    assert "events/catalog.json" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not any("__pycache__" in name for name in names)


def test_it_knows_its_version(penstock: Path, elsewhere: dict[str, object]) -> None:
    told = subprocess.check_output([penstock, "--version"], **elsewhere)  # type: ignore[call-overload]
    assert told.startswith("penstock ")


def test_it_says_where_its_tests_are(penstock: Path, elsewhere: dict[str, object]) -> None:
    ended = subprocess.run(  # type: ignore[call-overload]
        [penstock, "test", "--all"], check=False, capture_output=True, **elsewhere
    )
    assert 1 == ended.returncode
    assert "repository" in ended.stderr


@pytest.fixture
def serving(penstock: Path, elsewhere: dict[str, object], tmp_path: Path) -> Iterator[str]:
    """The address of a platform, which ends well when it is told to."""
    up = [penstock, "up", "--json", "--port", "0", "--data-dir", str(tmp_path / "data")]
    process: subprocess.Popen[str] = subprocess.Popen(up, stdout=subprocess.PIPE, **elsewhere)  # type: ignore[call-overload]
    assert process.stdout is not None
    try:
        yield msgspec.json.decode(process.stdout.readline())["url"]
    finally:
        process.terminate()
        assert 0 == process.wait(timeout=30)
        process.stdout.close()


def test_it_serves(serving: str) -> None:
    with urllib.request.urlopen(f"{serving}/health", timeout=10) as answer:
        assert 200 == answer.status
