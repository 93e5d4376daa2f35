"""What probes hear of a process that answers nobody else."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from events.requests import CHAT
from events.words import Conflict, Unavailable, Usage
from services.router.metrics import Metrics
from services.runtime.probes import Probes
from services.runtime.settings import Settings
from tests.support import client
from tests.support.client import Response

pytestmark = pytest.mark.anyio


class Asked:
    """A process whose one check says what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.missing: str | None = None
        self.away = False
        self.metrics = Metrics({"queue_running": lambda: 3})
        self.probes = Probes(Settings(data_dir=str(folder), port=0), self.metrics, {"queue": self.check})

    async def check(self) -> str | None:
        if self.away:
            raise Unavailable("The store is away.")
        return self.missing

    async def get(self, path: str) -> Response:
        return await client.ask(urlsplit(self.probes.url).port or 0, "GET", path)


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    made = Asked(tmp_path)
    await made.probes.listen()
    yield made
    await made.probes.close()


async def test_a_process_that_works_is_alive_and_ready(asked: Asked) -> None:
    assert (200, 200) == ((await asked.get("/health")).status, (await asked.get("/ready")).status)


async def test_one_that_lacks_something_is_alive_and_says_what(asked: Asked) -> None:
    asked.missing = "it claims nothing"
    ready = await asked.get("/ready")

    assert 200 == (await asked.get("/health")).status
    assert (503, {"queue": "it claims nothing"}) == (ready.status, ready.json["missing"])


async def test_one_that_cannot_reach_its_store_is_alive_and_not_ready(asked: Asked) -> None:
    asked.away = True

    assert (200, 503) == ((await asked.get("/health")).status, (await asked.get("/ready")).status)


async def test_one_that_is_stopped_is_alive_and_not_ready(asked: Asked) -> None:
    asked.probes.drain()
    ready = await asked.get("/ready")

    assert 200 == (await asked.get("/health")).status
    assert (503, "draining") == (ready.status, ready.json["missing"]["process"])


async def test_its_figures_are_on_the_same_port(asked: Asked) -> None:
    asked.metrics.attempted("gemma", "pool", CHAT, "finished", Usage(input=7, output=3), 1.5)
    told = (await asked.get("/metrics")).body.decode()

    assert "penstock_queue_running 3.0" in told
    assert (
        'gen_ai_client_operation_duration_seconds_count{error_type="",gen_ai_operation_name="chat",'
        'gen_ai_request_model="gemma",penstock_backend="pool"} 1.0'
    ) in told
    assert 404 == (await asked.get("/v1/models")).status


async def test_a_port_that_is_taken_is_told_with_the_option_that_chooses_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(data_dir=str(tmp_path), port=taken.getsockname()[1])
        with pytest.raises(Conflict, match=r"is taken.* --port"):
            await Probes(settings, Metrics({}), {}).listen()
