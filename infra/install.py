"""Makes the repository's `.venv` and installs a hash-locked set of requirements into it."""

import contextlib
import functools
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

WINDOWS = os.name == "nt"
VERSION = sys.version_info[:2]


class Failed(Exception):
    """What could not be done, and what would help."""


def install(root: str, lock: str, stamp_path: str, stamp: str) -> None:
    """Brings `.venv` to what a lock says and leaves a stamp that says so. Two starts at once take turns.

    The lock file holds a word while somebody installs: whoever finds it there later knows that an
    install was broken off, and lays every package anew. Raises `Failed` or `OSError`.
    """
    began = time.monotonic()
    venv, noted = Path(root, ".venv"), Path(stamp_path)
    with one_at_a_time(Path(root, ".venv.lock")) as mark:
        before = noted.read_text(encoding="utf-8") if noted.exists() else ""
        if before == stamp and python_of(venv).exists():
            return  # the start we waited for has done it
        broken_off = bool(mark.read())
        moved = bool(before) and before.splitlines()[0] != stamp.splitlines()[0]  # its scripts name its place
        mark.write("installing\n")
        mark.flush()
        make_venv(venv, again=broken_off or moved)
        say(f"installing what infra/locks/{lock}.txt lists")
        install_lock(venv, Path(root, "infra", "locks", f"{lock}.txt"), again=broken_off or moved)
        make_importable(Path(root), venv)
        noted.write_text(stamp, encoding="utf-8")
        mark.truncate(0)
    say(f"installed in {time.monotonic() - began:.0f} s")


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[TextIO]:
    """A file only one process has at a time, open at its beginning for reading and appending."""
    with path.open("a+", encoding="utf-8") as file:
        if not locked(file, wait=False):
            say("another start is installing; waiting for it")
            locked(file, wait=True)
        # A tool we started may outlive us: the lock lasts until it, too, has ended.
        os.set_inheritable(file.fileno(), True)
        file.seek(0)
        yield file


if sys.platform == "win32":
    import msvcrt

    def locked(file: TextIO, *, wait: bool) -> bool:
        """Takes the lock on a file; False where it is taken."""
        file.seek(1 << 20)  # nobody else can read a locked byte, so it is one that is never used
        while True:
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                return True
            except OSError:
                if not wait:
                    return False
            time.sleep(0.2)
else:
    import fcntl

    def locked(file: TextIO, *, wait: bool) -> bool:
        """Takes the lock on a file; False where it is taken."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False


def make_venv(venv: Path, *, again: bool) -> None:
    """Makes a virtual environment, replaces one of another Python, and with `again` mends any."""
    version, uv = version_of(venv), find_uv()
    if version == VERSION and not again and (uv or has_pip(venv)):
        return
    unusable = venv.exists() and version != VERSION
    doing = "replacing" if unusable else "mending" if venv.exists() else "making"
    say(f"{doing} {venv} (Python {VERSION[0]}.{VERSION[1]})")
    # The Python beneath an environment, never one inside. What is mended keeps its own: even two of one
    # version do not mix.
    base: str = getattr(sys, "_base_executable", sys.executable)
    if version == VERSION:
        base = asked(venv, "import sys; print(sys._base_executable)")
    if uv:
        how = "--clear" if unusable else "--allow-existing"
        run([uv, "venv", "--quiet", "--no-project", how, "--python", base, str(venv)])
        return
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        raise Failed(
            f"this Python ({base}) cannot make virtual environments: its modules venv and ensurepip are "
            "missing. On Debian and Ubuntu: apt install python3-venv. Elsewhere: install uv."
        )
    run([base, "-m", "venv", *(["--clear"] if unusable else []), str(venv)])


def install_lock(venv: Path, lock: Path, *, again: bool) -> None:
    """Installs a lock; with `again` also what seems to be there already."""
    force = ["--force-reinstall"] if again else []
    run([*installer(venv), *force, "--no-deps", "--require-hashes", "-r", str(lock)])


def installer(venv: Path) -> list[str]:
    """The command that installs into an environment: uv where there is one, else the environment's pip."""
    python, uv = str(python_of(venv)), find_uv()
    if uv:
        return [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    return [python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]


def make_importable(root: Path, venv: Path) -> None:
    """Makes the repository's packages importable in an environment, and gives it a `penstock` command."""
    place = Path(asked(venv, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    # Relative, because a .pth file is read in the machine's own encoding and a path may hold any letter.
    (place / "penstock.pth").write_text(os.path.relpath(root, place) + "\n", encoding="utf-8")
    python, launcher = python_of(venv), root / "penstock"
    if WINDOWS:
        script, text = "penstock.cmd", f'@"%~dp0python.exe" "{launcher}" %*\n'
    else:
        command = f'{shlex.quote(str(python))} {shlex.quote(str(launcher))} "$@"'
        script, text = "penstock", f"#!/bin/sh\nexec {command}\n"
    path = python.parent / script
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def python_of(venv: Path) -> Path:
    """The Python of an environment."""
    return venv / "Scripts" / "python.exe" if WINDOWS else venv / "bin" / "python"


def version_of(venv: Path) -> tuple[int, int] | None:
    """The version of an environment's Python; None where it does not run."""
    try:
        major, minor = asked(venv, "import sys; print(*sys.version_info[:2])").split()
    except Failed:
        return None
    return int(major), int(minor)


def has_pip(venv: Path) -> bool:
    """Whether an environment can install by itself; those that uv made cannot."""
    return asked(venv, "import importlib.util as u; print(u.find_spec('pip') is not None)") == "True"


def asked(venv: Path, code: str) -> str:
    """What the environment's Python prints for a line of code."""
    command = [str(python_of(venv)), "-I", "-c", code]
    try:
        return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(f"the Python in {venv} does not run: {error}") from error


@functools.cache
def find_uv() -> str | None:
    """uv, if it is on PATH and runs: a version manager's stand-in may lie there with nothing behind it."""
    uv = shutil.which("uv")
    if uv is None or subprocess.run([uv, "--version"], check=False, capture_output=True).returncode:
        return None
    return uv


def run(command: list[str]) -> None:
    """Runs a tool with its output on stderr: stdout belongs to the command we were started for."""
    code = subprocess.run(command, check=False, stdout=sys.stderr, close_fds=False).returncode
    if code:
        tool = Path(command[0]).name
        raise Failed(f"{tool} ended with {code}; the lines above say why. Start again when it is mended.")


def say(line: str) -> None:
    """Tells whoever waits what is going on."""
    print(f"penstock: {line}", file=sys.stderr, flush=True)
