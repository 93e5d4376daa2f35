"""Runs `./penstock test`: the quick tests, with --all everything CI runs, with --soak the long runs."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PYTHON = (sys.executable, "-P")  # -P: not the folder we are in, but what is installed

QUICK = "not slow and not soak"
SLOW = "slow"  # real processes, killed and waited for
SOAK = "soak"
# Many tests wait more than they work. Each worker has a whole stretch of them, and shares what a file
# has started.
PARALLEL = ("-n", str((os.cpu_count() or 1) * 3 // 2 + 1), "--dist", "worksteal")
TWO_FILES = ("-n", "2", "--dist", "loadfile")  # they mostly wait, and share what a file has started
MEMORY = Path("/dev/shm")  # a file system without a disk, where there is one
ROOM_BYTES = 1 << 30  # the quick tests leave a quarter of it
THOROUGH = ("--hypothesis-profile", "thorough")  # more examples of every property


class Step(NamedTuple):
    """One thing to run, and how it is called."""

    name: str
    command: tuple[str, ...]
    in_memory: bool = False


class Ended(NamedTuple):
    """How a step ended."""

    name: str
    code: int
    took_s: float


def main() -> int:
    """Runs every step, also after one failed, and returns the exit code."""
    options, rest = read_options()
    if options.soak:
        return run(pytest(SOAK, [*THOROUGH, *rest])).code
    if not options.all:
        return run(pytest(QUICK, [*PARALLEL, *rest])).code
    tests = pytest(QUICK, [*PARALLEL, *THOROUGH, *rest]), pytest(SLOW, [*TWO_FILES, *THOROUGH, *rest])
    ended = [run(step) for step in (*checks(), *tests)]
    print("\n" + "\n".join(map(line_of, ended)), flush=True)
    return 1 if any(step.code for step in ended) else 0


def read_options() -> tuple[argparse.Namespace, list[str]]:
    """Our own options, and what is left for pytest."""
    parser = argparse.ArgumentParser(
        prog="penstock test", description="Runs the tests; other arguments go to pytest.", allow_abbrev=False
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--all", action="store_true", help="everything CI runs: linters, types, slow tests")
    kind.add_argument("--soak", action="store_true", help="the full-size runs only")
    return parser.parse_known_args()


def checks() -> tuple[Step, ...]:
    """What is judged without running the product. The commands beside it are in CONTRIBUTING.md."""
    lint_imports = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or "lint-imports"
    scripts = ("penstock", "infra/install.py", "tests/run.py", "tests/needs.py")
    return (
        Step("ruff check", (*PYTHON, "-m", "ruff", "check")),
        Step("ruff format", (*PYTHON, "-m", "ruff", "format", "--check")),
        Step("mypy", (*PYTHON, "-m", "mypy")),
        Step("mypy, scripts", (*PYTHON, "-m", "mypy", "--scripts-are-modules", *scripts)),
        Step("import rules", (lint_imports, "--no-logo")),
    )


def pytest(marked: str, rest: list[str]) -> Step:
    """The tests a marker expression picks."""
    command = (*PYTHON, "-m", "pytest", "-q", "-m", marked, *rest)
    return Step(f"tests ({marked})", command, in_memory=marked == QUICK)


def run(step: Step) -> Ended:
    """Runs a step in the repository's root, its output ours."""
    print(f"== {step.name}", flush=True)
    began = time.monotonic()
    with environment(in_memory=step.in_memory) as told:
        code = subprocess.run(step.command, cwd=ROOT, env=told, check=False).returncode
    ended = Ended(step.name, code, time.monotonic() - began)
    print(line_of(ended), flush=True)
    return ended


@contextmanager
def environment(*, in_memory: bool) -> Iterator[dict[str, str]]:
    """Ours, but that compiled files are kept: without, every worker compiles all tests anew.

    What a quick test writes is gone with it, so its files may lie in memory: a disk would be waited for at
    every commit. Slow tests are of promises, and write to a real one.
    """
    told = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if not (in_memory and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES):
        yield told
        return
    with tempfile.TemporaryDirectory(prefix="penstock-", dir=MEMORY, ignore_cleanup_errors=True) as folder:
        yield told | {"TMPDIR": folder}


def line_of(step: Ended) -> str:
    """A step in one line."""
    return f"== {'failed' if step.code else 'passed'} in {step.took_s:6.1f} s: {step.name}"


if __name__ == "__main__":
    sys.exit(main())
