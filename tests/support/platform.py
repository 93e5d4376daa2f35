"""The whole platform in this process, on a folder and ports of its own."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from services.guarding.guard import Guard
from services.runtime.local import LocalPlatform
from services.runtime.settings import Settings
from services.runtime.telemetry import Wish
from tests.support import client
from tests.support.client import PATIENCE_S, Client, Response
from tests.support.fronts import KIND
from tests.support.wire import MODEL, chat, request

CHAT = "/v1/chat/completions"
SILENT = Wish()
QUICK: dict[str, Any] = {  # nothing waits longer than a test should
    "port": 0,
    "metrics_port": 0,
    "drain_s": 0.2,
    "usage_linger_s": 0.001,
    "front": KIND,
    "attempts": 1,  # a test of an engine's failure hears of that one; further attempts have their own
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A platform that serves, as its callers see it."""

    platform: LocalPlatform
    folder: Path
    url: str
    metrics_url: str
    key: str
    admin_key: str

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def keyed(self, headers: dict[str, str] | None = None) -> dict[str, str]:
        """The headers of a caller with the development key."""
        named = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        return named | (headers or {})

    async def call(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Response:
        """One call of the public API."""
        return await client.ask(self.port, method, path, body, self.keyed(headers))

    async def chat(
        self, text: str = "Hi.", *, headers: dict[str, str] | None = None, **more: Any
    ) -> Response:
        """One chat completion, read whole."""
        return await self.call("POST", CHAT, chat(text, **more), headers)

    async def admin(self, method: str, path: str, content: object = None) -> Any:
        """What an admin endpoint answers; it has to be a success."""
        body = None if content is None else json.dumps(content).encode()
        answer = await client.ask(
            self.port, method, f"/admin/v1{path}", body, {"authorization": f"Bearer {self.admin_key}"}
        )
        assert answer.status < 300, answer.body
        return answer.json

    async def usage(self, requests: int = 1, *, tenant: str = "default") -> dict[str, Any]:
        """A tenant's one line of the ledger, once it counts that many requests."""
        rows: list[dict[str, Any]] = []

        async def counted() -> bool:
            rows[:] = (await self.admin("GET", f"/usage?tenant={tenant}"))["data"]
            return sum(row["requests"] for row in rows) >= requests

        await eventually(counted)
        (row,) = rows
        return row

    def connected(self, **options: Any) -> Any:
        """A raw connection to it."""
        return client.connected(self.port, **options)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator["Watch"]:
        """Every event from now on, as an operator sees it."""
        async with self.connected() as connection:
            authorization = {"authorization": f"Bearer {self.admin_key}"}
            await connection.send(request("GET", "/admin/v1/events", headers=authorization))
            await connection.head()
            await connection.chunk()
            yield Watch(connection)


@dataclass(slots=True)
class Watch:
    """Reads events one after another."""

    connection: Client
    _records: deque[dict[str, Any]] = field(default_factory=deque)

    async def next(self, topic: str) -> dict[str, Any]:
        """The next event of a topic."""
        while True:
            told: dict[str, Any] = json.loads(await self.connection.chunk())
            if told["topic"] == topic:
                return told

    async def record(self, kind: str) -> dict[str, Any]:
        """The next usage record of a kind."""
        while True:
            while self._records:
                record = self._records.popleft()
                if record["kind"] == kind:
                    return record
            page = await self.next("usage-recorded-v1")
            self._records.extend(page["data"]["records"])


async def eventually(holds: Callable[[], Awaitable[object]], within_s: float = PATIENCE_S) -> None:
    """Waits until something holds; fails where it never does."""
    async with asyncio.timeout(within_s):
        while not await holds():
            await asyncio.sleep(0.01)


def config_file(folder: Path, engine: str, **model: Any) -> str:
    """A configuration document of one model on one engine."""
    document = {
        "backends": {"pool": {"replicas": [engine]}},
        "models": {MODEL: {"backend": "pool", **model}},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


@asynccontextmanager
async def running(
    folder: Path, wish: Wish = SILENT, guard: Guard | None = None, **settings: Any
) -> AsyncIterator[Running]:
    """A platform on `folder`; without `config` or `engine` it would look for engines on this machine. `wish`:
    what it is to tell of itself.
    """
    platform = LocalPlatform(Settings(data_dir=str(folder), **(QUICK | settings)), wish, guard)
    started = await platform.start()
    try:
        yield Running(
            platform=platform,
            folder=folder,
            url=started.url,
            metrics_url=started.metrics_url,
            key=started.key,
            admin_key=(folder / "admin-key").read_text().strip(),
        )
    finally:
        await platform.stop()
