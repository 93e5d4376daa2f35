"""A platform and its engine as processes, their memory, and a polite client who goes on asking."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kill.rig.processes import Platform, Process, environment
from tests.support.client import Response, ask
from tests.support.wire import request

CHAT = "/v1/chat/completions"
MODEL = "gemma-3-4b-it"
PAGE = os.sysconf("SC_PAGE_SIZE")


def chat(text: str = "Hi.", **more: Any) -> bytes:
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": text}], **more}).encode()


def resident(pid: int) -> int:
    """Bytes of memory a process has now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def peak(pid: int) -> int:
    """The most it ever had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@dataclass(slots=True, kw_only=True)
class Site:
    """What is attacked."""

    platform: Platform
    statuses: list[int] = field(default_factory=list)  # of the polite client
    slowest_s: float = 0.0

    @property
    def port(self) -> int:
        return self.platform.port

    @property
    def pid(self) -> int:
        return self.platform.pid

    def headers(self, **more: str) -> dict[str, str]:
        key = {"authorization": f"Bearer {self.platform.key}", "content-type": "application/json"}
        return key | {name.replace("_", "-"): value for name, value in more.items()}

    def asked(self, body: bytes, **more: str) -> bytes:
        """A chat completion as it goes over the wire."""
        return request("POST", CHAT, body, self.headers(**more))

    async def ask(self, method: str, path: str, body: bytes | None = None, **more: str) -> Response:
        return await ask(self.port, method, path, body, self.headers(**more))

    @asynccontextmanager
    async def polite(self) -> AsyncIterator[None]:
        """One who asks a little question, again and again, each time anew."""
        task = asyncio.create_task(self._go_on_asking())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _go_on_asking(self) -> None:
        while True:
            began = time.monotonic()
            self.statuses.append((await self.ask("POST", CHAT, chat(max_tokens=5))).status)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            await asyncio.sleep(0.05)


@asynccontextmanager
async def attacked(folder: Path, code: Path | None = None, **settings: str) -> AsyncIterator[Site]:
    """A platform before a rehearsal engine that answers at once. `code` runs instead of ours."""
    engine = Process(folder / "engine.log", environment({}, None))
    told = await engine.start("engine", "--json", "--port=0", "--profile=instant", f"--model={MODEL}")
    platform = Platform(folder, told["url"], settings, code)
    try:
        await platform.start()
        site = Site(platform=platform)
        assert 200 == (await site.ask("POST", CHAT, chat())).status
        yield site
        await platform.stop()
    finally:
        platform.kill()
        engine.send(signal.SIGKILL)
        await engine.ended()
