"""The engine as a process of its own, and what is left of it when it is killed."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.rehearsal.journal import Accepted
from tests.services.rehearsal.talk import CHAT, Talk, ask, request, tokens_in

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SERVE = """
import asyncio, pathlib, sys
from services.rehearsal.endpoint import Options
from services.rehearsal.engine import serve
options = Options(log_path=pathlib.Path(sys.argv[1]))
asyncio.run(serve(options, "127.0.0.1", 0, started=lambda port: print(port, flush=True)))
"""


@asynccontextmanager
async def process(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, Talk]]:
    log_path = folder / "attempts.jsonl"
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", SERVE, str(log_path), stdout=asyncio.subprocess.PIPE
    )
    assert running.stdout is not None
    try:
        yield running, Talk(int(await running.stdout.readline()), log_path)
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def test_rows_survive_a_kill(tmp_path: Path) -> None:
    async with process(tmp_path) as (running, talk):
        assert 200 == (await talk.chat("r.1", max_tokens=2)).status
        body = ask(stream=True, max_tokens=500, ignore_eos=True)
        reader, writer = await talk.open(request(CHAT, body, {"x-penstock-attempt": "r.2"}))
        while not tokens_in(await reader.read(65536)):
            pass
        running.kill()
        await running.wait()
        writer.close()
    assert ["r.1", "r.1", "r.2"] == [row.attempt for row in talk.rows()]
    assert isinstance(talk.rows()[-1], Accepted)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_and_the_log_tells_what_was_under_way(
    tmp_path: Path, ending: signal.Signals
) -> None:
    async with process(tmp_path) as (running, talk):
        body = ask(stream=True, max_tokens=500, ignore_eos=True)
        reader, writer = await talk.open(request(CHAT, body, {"x-penstock-attempt": "r.1"}))
        await reader.read(1)
        running.send_signal(ending)
        assert 0 == await running.wait()
        writer.close()
    assert ["cancelled"] == [row.outcome for row in talk.ended("r.1")]
