"""A process that dies is started again, also where it leaves workers of its own behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.adapters.emulators import free_port
from services.embedded.workers import Workers
from services.runtime.children import Child

pytestmark = pytest.mark.anyio

PATIENCE_S = 30.0

# Listens and has a worker that shares the port, as gunicorn does; the worker outlives its parent.
SERVER = """
import os, socket, sys, time
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
worker = os.fork()
print("up", os.getpid(), flush=True) if worker else None
time.sleep(3600)
"""


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[Child]:
    port = free_port()
    command = (sys.executable, "-c", SERVER, str(port))
    child = Child(name="server", command=command, environment={}, log=tmp_path / "log", port=port)
    workers = Workers()
    workers.start(child.run(), "server")
    try:
        yield child
    finally:
        await workers.stop()
        await child.end(5.0)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not reached():
            await asyncio.sleep(0.02)


def ups(child: Child) -> int:
    """How often it got its port."""
    return child.last_words().count("up ")


async def test_the_successor_gets_the_port_though_a_worker_outlived_its_parent(child: Child) -> None:
    await until(lambda: ups(child) == 1)
    assert child.process is not None
    os.kill(child.process.pid, signal.SIGKILL)
    await until(lambda: child.starts >= 2 and ups(child) == 2)

    assert 2 == child.starts, child.last_words()
    await child.listens(PATIENCE_S)
