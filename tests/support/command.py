"""The `penstock` command in processes of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PENSTOCK = (sys.executable, "-P", "-m", "services.cli.main")
PATIENCE_S = 30.0  # a start on a busy machine


def environment(**more: str) -> dict[str, str]:
    """This process's, without any setting of Penstock."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    return kept | {"COLUMNS": "200", "NO_COLOR": "1"} | more


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The one sentence a command failed with."""
        assert 1 == self.code, (self.code, self.out, self.err)
        assert "Traceback" not in self.err
        lines = self.err.strip().splitlines()
        assert 1 == len(lines), self.err
        assert lines[0].startswith("penstock: ")
        assert lines[0].endswith(".")
        return lines[0].removeprefix("penstock: ")


def penstock(*arguments: str, given: bytes = b"", **variables: str) -> Ended:
    """Runs a command to its end; `given` is its standard input."""
    ended = subprocess.run(
        [*PENSTOCK, *arguments],
        input=given,
        capture_output=True,
        env=environment(**variables),
        timeout=PATIENCE_S,
        check=False,
    )
    return Ended(code=ended.returncode, out=ended.stdout.decode(), err=ended.stderr.decode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A command that goes on running."""

    child: subprocess.Popen[bytes]

    def line(self) -> str:
        """The next line it prints."""
        assert self.child.stdout is not None
        return self.child.stdout.readline().decode().rstrip("\n")

    def stop(self, signal_number: int) -> Ended:
        """Sends a signal and waits for the end."""
        self.child.send_signal(signal_number)
        return self.end()

    def end(self) -> Ended:
        """Waits for the end."""
        out, err = self.child.communicate(timeout=PATIENCE_S)
        return Ended(code=self.child.returncode, out=out.decode(), err=err.decode())


@contextmanager
def started(*arguments: str, **variables: str) -> Iterator[Process]:
    """Starts a command; it is killed where the test did not end it."""
    child = subprocess.Popen(
        [*PENSTOCK, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**variables),
    )
    try:
        yield Process(child=child)
    finally:
        child.kill()
        child.communicate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """A platform in a process of its own."""

    process: Process
    folder: Path
    first_line: dict[str, Any]

    @property
    def key(self) -> str:
        key: str = self.first_line["key"]
        return key

    @property
    def port(self) -> int:
        return int(self.first_line["url"].rpartition(":")[2])


@contextmanager
def up(folder: Path, *arguments: str, **variables: str) -> Iterator[Up]:
    """`penstock up --json` on free ports, once it serves."""
    ports = ("--port", "0", "--metrics-port", "0")
    with started("up", "--json", *ports, "--data-dir", str(folder), *arguments, **variables) as process:
        line = process.line()
        assert line, process.end().err
        yield Up(process=process, folder=folder, first_line=json.loads(line))


def wait_until_gone(path: Path) -> None:
    """Waits for a file to disappear."""
    deadline = time.monotonic() + PATIENCE_S
    while path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
