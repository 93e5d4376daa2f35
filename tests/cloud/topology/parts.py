"""The processes of a platform that runs as `penstock up --emulators`, found from outside."""

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from services.adapters.emulators import FIRESTORE, PUBSUB, missing

FUNCTIONS = ("request", "routing", "metering", "caching", "delivery", "autoscale", "backup")


def lacking() -> str:
    for kind in (FIRESTORE, PUBSUB):
        if told := missing(kind):
            return told
    if shutil.which("java") is None or importlib.util.find_spec("functions_framework") is None:
        return "functions-framework is missing here; pip install --require-hashes -r infra/locks/all.txt"
    return ""


needs_topology = pytest.mark.skipif(bool(lacking()), reason=lacking() or "it is all there")


class Parts:
    """Each part by its name; a part that was started again has another pid, and the same port.

    `told` is the `parts` of the line that `up --json` prints.
    """

    def __init__(self, supervisor: int, told: Sequence[dict[str, Any]]) -> None:
        self._supervisor = supervisor
        self.ports: dict[str, int] = {part["name"]: part["port"] for part in told if part["port"]}
        self._emulators = {
            part["name"]: part["pid"] for part in told if part["name"] in ("firestore", "pubsub")
        }
        self.project = self._environment_of(self.pids("router")[0])["GOOGLE_CLOUD_PROJECT"]

    @property
    def pubsub(self) -> str:
        """Where the emulator of Pub/Sub listens."""
        return f"127.0.0.1:{self.ports['pubsub']}"

    @property
    def firestore(self) -> str:
        """Where the emulator of Firestore listens."""
        return f"127.0.0.1:{self.ports['firestore']}"

    def pids(self, name: str) -> list[int]:
        """A part's process, and behind it its workers; nothing while it is dead."""
        if name in self._emulators:
            return [self._emulators[name]]
        found = [pid for pid in _children(self._supervisor) if self._is(name, pid)]
        return [*found, *(worker for pid in found for worker in _children(pid))]

    def _is(self, name: str, pid: int) -> bool:
        port = str(self.ports[name])
        return bool({port, f"--port={port}"} & set(_command(pid)))

    @staticmethod
    def _environment_of(pid: int) -> dict[str, str]:
        lines = Path(f"/proc/{pid}/environ").read_text().split("\0")
        return dict(line.split("=", 1) for line in lines if "=" in line)


def _children(parent: int) -> list[int]:
    return [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit() and _parent(one) == parent]


def _parent(process: Path) -> int:
    try:
        state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if state == "Z" else int(parent)


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
