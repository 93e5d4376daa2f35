"""Runs `./penstock test`: the quick tests, with --all everything CI runs, with --soak the long runs."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PYTHON = (sys.executable, "-P")  # -P: not the folder we are in, but what is installed

QUICK = "not slow and not soak"
SLOW = "slow"  # real processes, killed and waited for
SOAK = "soak"
PARALLEL = ("-n", str((os.cpu_count() or 1) * 3 // 2 + 1))  # many tests wait more than they work
TWO_FILES = ("-n", "2", "--dist", "loadfile")  # they mostly wait, and share what a file has started
THOROUGH = ("--hypothesis-profile", "thorough")  # more examples of every property


class Step(NamedTuple):
    """One thing to run, and how it is called."""

    name: str
    command: tuple[str, ...]


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
    return Step(f"tests ({marked})", (*PYTHON, "-m", "pytest", "-q", "-m", marked, *rest))


def run(step: Step) -> Ended:
    """Runs a step in the repository's root, its output ours."""
    print(f"== {step.name}", flush=True)
    began = time.monotonic()
    code = subprocess.run(step.command, cwd=ROOT, env=environment(), check=False).returncode
    ended = Ended(step.name, code, time.monotonic() - began)
    print(line_of(ended), flush=True)
    return ended


def environment() -> dict[str, str]:
    """Ours, but for one setting: where nothing compiled is kept, every worker compiles all tests anew."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def line_of(step: Ended) -> str:
    """A step in one line."""
    return f"== {'failed' if step.code else 'passed'} in {step.took_s:6.1f} s: {step.name}"


if __name__ == "__main__":
    sys.exit(main())
