"""Processes of ours that run beside this one: watched, and started again where they die."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from events.words import Unavailable

FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 5.0
STEADY_S = 10.0  # a process that lived so long may be started again at once
LOOK_EVERY_S = 0.05
TAIL = 1500

log = logging.getLogger("penstock.children")


@dataclass(slots=True)
class Child:
    """A process by its command; `port` is where it listens, where it does. Its output goes to `log`."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    port: int | None = None
    process: asyncio.subprocess.Process | None = field(default=None, init=False)
    starts: int = field(default=0, init=False)

    async def run(self) -> None:
        """Until cancelled: starts it, and starts it again with a pause that grows while it keeps dying."""
        pause_s = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            await self._start()
            assert self.process is not None
            code = await self.process.wait()
            self._kill_the_rest(self.process.pid)
            lived_s = time.monotonic() - began
            pause_s = FIRST_PAUSE_S if lived_s > STEADY_S else min(LAST_PAUSE_S, pause_s * 2)
            log.warning(
                "%s ended (%d); it starts again in %g s. It said: %s", self.name, code, pause_s, self.log
            )
            await asyncio.sleep(pause_s)

    async def _start(self) -> None:
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                env={**os.environ, **self.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the parent, which ends its children in order
            )
        self.starts += 1

    async def listens(self, within_s: float) -> None:
        """Waits until it can be connected to. Raises `Unavailable` with its last words."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            await asyncio.sleep(LOOK_EVERY_S)
        raise Unavailable(f"{self.name} did not start within {within_s:g} s. It said:\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of what it wrote."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_bytes()[-TAIL:].decode(errors="replace")
        return ""

    async def end(self, within_s: float) -> None:
        """Asks it to end, with all of its own processes, and kills what is left of them."""
        process = self.process
        if process is None:
            return
        for name in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, name)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), within_s)
                self._kill_the_rest(process.pid)
                return

    def _kill_the_rest(self, group: int) -> None:
        """Workers that outlived their parent still listen on its port: its successor could not."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
