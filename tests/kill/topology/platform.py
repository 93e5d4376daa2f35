"""The platform under test as several processes, struck one by one; a supervisor starts them again."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cloud.topology.parts import Parts
from tests.kill.rig.processes import LOOK_EVERY_S, Platform, Process, environment, until

BACK_WITHIN_S = 120.0


class SeveralProcesses(Platform):
    """`penstock up --emulators`; its supervisor is never struck, so it counts as up all the time."""

    parts: Parts

    async def start(self, **settings: str) -> None:
        self._process = Process(self._log, environment(self._settings | settings, self._code))
        told = await self._process.start(
            "up", "--emulators", "--json", f"--port={self.port}", f"--data-dir={self.data}",
            f"--engine={self._engine_url}",
        )  # fmt: skip
        self.parts = Parts(self.pid, told["parts"])
        self.up.set()

    def strike(self, name: str, *, worker: bool = False) -> set[int]:
        """Kills a part: its process, or a function's worker under it. Returns the processes it had."""
        pids = self.parts.pids(name)
        os.kill(pids[-1 if worker else 0], signal.SIGKILL)
        return set(pids)

    async def back(self, name: str, before: set[int]) -> None:
        """Waits until a part is there again that had these processes."""

        def is_back() -> bool:
            now = set(self.parts.pids(name))
            return len(now) >= len(before) and now != before

        await until(is_back, f"{name} is back", BACK_WITHIN_S)
        if name in self.parts.ports:
            await self._listens(self.parts.ports[name])

    async def _listens(self, port: int) -> None:
        async with asyncio.timeout(BACK_WITHIN_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionError:
                    await asyncio.sleep(LOOK_EVERY_S)
                else:
                    writer.close()
                    return

    @contextmanager
    def paused(self, emulator: str) -> Iterator[None]:
        """An emulator keeps its connections and answers nothing."""
        (pid,) = self.parts.pids(emulator)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)
