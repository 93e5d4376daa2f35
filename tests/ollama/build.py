"""Builds Ollama from its Go module, once for each machine: `python3 -m tests.ollama.build` does it ahead.

Needs nothing but the standard library, so that CI can run it before anything is installed.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Archives of later ones lack a header of a C++ library they hold, and do not build.
VERSION = "v0.9.6"
NEEDED = {"go": "install Go 1.24 or newer", "gcc": "apt install gcc", "g++": "apt install g++"}


def folder() -> Path:
    """Where it is kept."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache else Path.home() / ".cache") / "ollama-for-tests" / VERSION


def missing() -> str | None:
    """What this machine lacks to have it, and how to get that; None where it has it or can build it."""
    if (folder() / "ollama").exists():
        return None
    lacking = [f"{name} ({how})" for name, how in NEEDED.items() if shutil.which(name) is None]
    return f"Ollama cannot be built here, it needs {', '.join(lacking)}" if lacking else None


def build() -> Path:
    """The program. The first time this takes minutes; who comes meanwhile waits for whoever builds."""
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ollama").exists():
            _install(place / "unfinished")
            (place / "unfinished" / "ollama").rename(place / "ollama")
    return place / "ollama"


def _install(into: Path) -> None:
    told = {"CGO_ENABLED": "1", "GOBIN": str(into), "GOFLAGS": "-mod=mod"}
    made = subprocess.run(
        ["go", "install", "-trimpath", f"github.com/ollama/ollama@{VERSION}"],
        env=os.environ | told,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if made.returncode:
        sys.stderr.buffer.write(made.stdout)
        raise RuntimeError(f"Ollama {VERSION} could not be built; what Go said of it is above.")


if __name__ == "__main__":
    lacking = missing()
    if lacking is not None:
        sys.exit(lacking)
    print(build())
