"""A platform that is killed while it answers a call with a key: the retry is run, and billed, once."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import client
from tests.support.command import Up, up
from tests.support.platform import CHAT, config_file, eventually
from tests.support.upstream import Upstream, begins, streams, waits_for
from tests.support.wire import DONE, chat, delta, request, usage_event

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

STREAM = (delta("Hel"), delta("lo."), usage_event(7, 2), DONE)
TOLD = b"".join((*STREAM[:2], DONE))
ADMIN_KEY = "pak_for-tests-only"
SETTINGS = {
    "PENSTOCK_ADMIN_KEY": ADMIN_KEY,
    "PENSTOCK_SILENT_AFTER_S": "2",
    "PENSTOCK_PROGRESS_EVERY_S": "1",
    "PENSTOCK_JOB_EVERY_S": "1",
    "PENSTOCK_DRAIN_S": "1",
}


@contextmanager
def platform(folder: Path, engine: Upstream) -> Iterator[Up]:
    with up(folder, PENSTOCK_CONFIG=config_file(folder, engine.url), **SETTINGS) as made:
        yield made


def keyed(up: Up, key: str = "order-17") -> dict[str, str]:
    named = {"authorization": f"Bearer {up.key}", "content-type": "application/json"}
    return named | ({"idempotency-key": key} if key else {})


async def ask(up: Up) -> client.Response:
    return await client.ask(up.port, "POST", CHAT, chat(stream=True), keyed(up))


async def billed(up: Up) -> tuple[int, int]:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    rows: list[Any] = (await client.ask(up.port, "GET", "/admin/v1/usage", None, headers)).json["data"]
    return sum(row["requests"] for row in rows), sum(row["output_tokens"] for row in rows)


async def test_killed_in_the_middle_the_retry_is_run_and_only_it_is_billed(
    tmp_path: Path, engine: Upstream
) -> None:
    engine.always = begins(STREAM[0])
    with platform(tmp_path, engine) as first:
        async with client.connected(first.port) as asked, client.connected(first.port) as plain:
            for caller, key in ((asked, "order-17"), (plain, "")):
                await caller.send(request("POST", CHAT, chat(stream=True), keyed(first, key)))
                await caller.head()
                await caller.chunk()
            await asyncio.to_thread(first.process.stop, signal.SIGKILL)
    engine.will(streams(*STREAM))
    with platform(tmp_path, engine) as second:
        answer, again = await ask(second), await ask(second)

        async def settled() -> bool:  # the one without a key, and with it all that fell silent
            return (await billed(second))[0] >= 2

        await eventually(settled, within_s=60)
        assert (2, 2) == await billed(second)

    assert (200, TOLD) == (answer.status, answer.body)
    assert "idempotent-replayed" not in answer.headers
    assert (TOLD, "true") == (again.body, again.headers["idempotent-replayed"])
    assert 3 == len(engine.calls)


async def test_killed_once_it_was_answered_the_retry_gets_the_answer(
    tmp_path: Path, engine: Upstream
) -> None:
    engine.will(streams(*STREAM))
    with platform(tmp_path, engine) as first:
        answer = await ask(first)
        await asyncio.to_thread(first.process.stop, signal.SIGKILL)
    with platform(tmp_path, engine) as second:
        again = await ask(second)

    assert (answer.body, "true") == (again.body, again.headers["idempotent-replayed"])
    assert 1 == len(engine.calls)


async def test_a_stop_lets_a_call_without_its_client_end_and_the_retry_gets_it(
    tmp_path: Path, engine: Upstream
) -> None:
    go = asyncio.Event()
    engine.will(waits_for(go, streams(*STREAM)))
    with platform(tmp_path, engine) as first:
        async with client.connected(first.port) as asked:
            await asked.send(request("POST", CHAT, chat(stream=True), keyed(first)))
            await engine.call()
        ending = asyncio.create_task(asyncio.to_thread(first.process.stop, signal.SIGTERM))
        await asyncio.sleep(0.1)
        go.set()
        assert 0 == (await ending).code
    with platform(tmp_path, engine) as second:
        again = await ask(second)

    assert (TOLD, "true") == (again.body, again.headers["idempotent-replayed"])
    assert json.loads(engine.calls[0].body)["stream"]
    assert 1 == len(engine.calls)
