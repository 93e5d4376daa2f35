"""What judges are made of, installed once for each machine and lock.

`python3 -m tests.conformance.installed` does it ahead; it needs the standard library only.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from infra.install import Failed, install_lock, make_venv, python_of

ROOT = Path(__file__).resolve().parents[2]
PYTHON_LOCK = ROOT / "infra" / "locks" / "conformance.txt"
JUDGED = ROOT / "tests" / "conformance" / "python"  # what runs in the judges' environment
NODE = ROOT / "tests" / "conformance" / "node"
NODE_LOCK = NODE / "package-lock.json"
OLDEST_NODE = 20
HOW = f"install Node.js {OLDEST_NODE} or newer, with npm"


def missing_node() -> str | None:
    """What this machine lacks to run Node's judges, and how to get it; None where it has all."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return f"node and npm are missing here; {HOW}"
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = told.removeprefix("v").partition(".")[0]
    return None if major.isdecimal() and int(major) >= OLDEST_NODE else f"node is {told} here; {HOW}"


def node_modules() -> Path:
    """The folder of the packages that `package-lock.json` lists. Raises `Failed`."""
    return once("node", NODE_LOCK, _install_node) / "node_modules"


def python() -> Path:
    """The Python that has what `conformance.txt` lists, and nothing else. Raises `Failed`."""
    version = "{}.{}".format(*sys.version_info)
    return python_of(once(f"python{version}", PYTHON_LOCK, _install_python) / "venv")


def once(kind: str, lock: Path, install: Callable[[Path], None]) -> Path:
    """A folder that belongs to this content of a lock; who comes while it is made waits for it."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = (Path(cache) if cache else Path.home() / ".cache") / "penstock-conformance"
    place = base / f"{kind}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("wb") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        if not (place / "whole").exists():
            install(place)
            (place / "whole").touch()
    return place


def _install_node(place: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NODE / name, place / name)
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    made = subprocess.run(["npm", "ci", *quiet], cwd=place, stdout=sys.stderr, check=False)
    if made.returncode:
        raise Failed(f"npm ci ended with {made.returncode}; the lines above say why.")


def _install_python(place: Path) -> None:
    shutil.rmtree(place / "venv", ignore_errors=True)  # what an install that was broken off has left
    make_venv(place / "venv", again=False)
    install_lock(place / "venv", PYTHON_LOCK, again=False)


if __name__ == "__main__":
    print(python())
    print(missing_node() or node_modules())
