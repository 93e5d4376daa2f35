"""The engine and the platform as processes of their own: started, stopped, frozen, killed."""

import asyncio
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from services.rehearsal.journal import Accepted, Row
from services.rehearsal.journal import read_rows as read_engine_log
from tests.kill.rig.calls import Call

PENSTOCK = (sys.executable, "-P", "-m", "services.cli.main")
PATIENCE_S = 60.0  # more than anything takes on a busy machine
LOOK_EVERY_S = 0.02


async def until(reached: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Waits until something holds; fails where it never does."""
    deadline = time.monotonic() + within_s
    while not reached():
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        await asyncio.sleep(LOOK_EVERY_S)


def free_port() -> int:
    """A port nobody listens on, outside the range of ports that connections begin at.

    Inside it, a client that tries while the platform is down could be given its port and meet itself.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)):
                return port


class Process:
    """A `penstock` command that serves."""

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self, *arguments: str) -> dict[str, Any]:
        """Starts it; returns what it says of itself once it serves."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *PENSTOCK, *arguments, env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S)
        if not line:
            await self.ended()
            raise AssertionError(f"{arguments[0]} did not start: {self._log.read_text()[-2000:]}")
        told: dict[str, Any] = json.loads(line)
        return told

    def send(self, number: signal.Signals) -> None:
        if self.alive:
            os.kill(self.pid, number)

    async def ended(self) -> int:
        """Its exit status, once it has one."""
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), PATIENCE_S)


class Engine:
    """The rehearsal engine under control. It is never killed, and its log is the truth."""

    def __init__(self, folder: Path) -> None:
        self.url = ""
        self._port = 0
        self._log = folder / "engine.jsonl"
        self._process = Process(folder / "engine.log", environment({}, None))

    async def start(self) -> None:
        told = await self._process.start("engine", "--control", "--json", "--port=0", f"--log={self._log}")
        self.url = told["url"]
        self._port = int(self.url.rpartition(":")[2])

    async def stop(self) -> None:
        self._process.send(signal.SIGTERM)
        await self._process.ended()

    def rows(self) -> list[Row]:
        """Its log so far."""
        return read_engine_log(self._log)

    def accepted_since(self, at: float) -> int:
        """How many attempts it took on since a moment."""
        return sum(isinstance(row, Accepted) and row.at >= at for row in self.rows())

    async def hold(self, phase: str, after_tokens: int = 0) -> None:
        """Whatever comes from now on waits at a phase, until it is released."""
        wish = {"phase": phase, "after_tokens": after_tokens, "count": 1_000}
        await self._control("POST", "hold", json.dumps(wish).encode())

    async def release(self) -> None:
        await self._control("POST", "release")

    async def held(self) -> list[str]:
        """The attempts that wait."""
        state = (await self._control("GET", "state")).json
        return [answer["attempt"] for answer in state["held"]]

    async def _control(self, method: str, what: str, body: bytes = b"") -> Call:
        call = Call(method, f"/rehearsal/{what}", body)
        await call.run(self._port)
        assert call.status == 200, call.body
        return call


class Platform:
    """`penstock up` on one data folder and one port, as often as it dies.

    `code` is a folder with the packages to run, instead of those under test.
    """

    def __init__(self, folder: Path, engine_url: str, settings: Mapping[str, str], code: Path | None) -> None:
        self.data = folder / "data"
        self.port = free_port()
        self.up = asyncio.Event()
        self._log = folder / "platform.log"
        self._engine_url = engine_url
        self._settings = dict(settings)
        self._code = code
        self._process = Process(self._log, {})

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.alive

    @property
    def key(self) -> str:
        return (self.data / "api-key").read_text().strip()

    @property
    def admin_key(self) -> str:
        return (self.data / "admin-key").read_text().strip()

    async def start(self, **settings: str) -> None:
        """Starts it, with some settings other than usual."""
        self._process = Process(self._log, environment(self._settings | settings, self._code))
        await self._process.start(
            "up", "--json", f"--port={self.port}", "--metrics-port=0", f"--data-dir={self.data}",
            f"--engine={self._engine_url}",
        )  # fmt: skip
        self.up.set()

    async def stop(self) -> None:
        """Lets it end well."""
        self.up.clear()
        self._process.send(signal.SIGTERM)
        status = await self._process.ended()
        assert status == 0, f"it stopped with {status}: {self._log.read_text()[-2000:]}"

    def kill(self) -> None:
        """Ends it at once: it does nothing any more, though whoever traces it may keep the body."""
        self.up.clear()
        self._process.send(signal.SIGKILL)

    async def gone(self) -> None:
        """Waits for the body."""
        await self._process.ended()

    async def dies(self, within_s: float) -> bool:
        """Waits for a death that was arranged."""
        try:
            await asyncio.wait_for(self._process.ended(), within_s)
        except TimeoutError:
            return False
        self.up.clear()
        return True

    def freeze(self) -> None:
        self._process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send(signal.SIGCONT)

    async def usage(self) -> list[dict[str, Any]]:
        """What `penstock usage` prints."""
        command = (*PENSTOCK, "usage", "--json", f"--data-dir={self.data}")
        process = await asyncio.create_subprocess_exec(
            *command, env=environment({}, self._code), stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        told: list[dict[str, Any]] = json.loads(printed)
        return told


def environment(settings: Mapping[str, str], code: Path | None) -> dict[str, str]:
    """Ours without what it says of a platform, with these settings and this code."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    found.update({f"PENSTOCK_{name}": value for name, value in settings.items()})
    return found if code is None else found | {"PYTHONPATH": str(code)}
