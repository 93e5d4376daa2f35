"""Keys, prompts and answers are nowhere in clear: not on the disk, not in logs, not in events."""

import gzip
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from services.router.credentials import mint
from tests.support import client
from tests.support.command import Up, started, up
from tests.support.platform import CHAT, config_file
from tests.support.upstream import Call, Upstream, answers, streams, upstream
from tests.support.wire import DONE, chat, completion, delta, problem

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PROMPT = "prompt-marker-73e1"
ANSWER = "answer-marker-9b5c"
KEY_FILES = frozenset({"api-key", "admin-key"})


async def answer(call: Call) -> None:
    """The prompt echoed and an answer, in the shape that was asked for; or an error that quotes both."""
    text = f"{ANSWER} {PROMPT}"
    if "fail" in call.json:
        await answers(problem(f"bad input: {text}"), call.json["fail"])(call)
    elif call.json.get("stream"):
        await streams(delta(text), DONE)(call)
    else:
        await answers(completion(text))(call)


async def ask(platform: Up, path: str, body: bytes, key: str) -> client.Response:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return await client.ask(platform.port, "POST", path, body, headers)


async def use(platform: Up, admin_key: str) -> None:
    """Everything a prompt can go through, well and badly."""
    for more in ({}, {"stream": True}, {"fail": 400}, {"fail": 500}, {"model": "unknown"}, {"messages": 5}):
        body = chat(PROMPT, **more)
        await ask(platform, CHAT, body, platform.key)
        await ask(platform, "/admin/v1/tenants/default/ingest", body, admin_key)
        envelope = b'{"url": "/v1/chat/completions", "answer": "topic", "body": %b}' % body
        queued = await ask(platform, "/v1/requests", envelope, platform.key)
        if queued.status == 202 and more.get("fail") != 500:
            headers = {"authorization": f"Bearer {platform.key}"}
            path = f"/v1/requests/{queued.json['id']}?wait=5"
            await client.ask(platform.port, "GET", path, headers=headers)
    for key in (mint(), admin_key, platform.key[:-1]):
        await ask(platform, CHAT, chat(PROMPT), key)
    await ask(platform, CHAT, chat(PROMPT)[:-1], platform.key)
    await ask(platform, "/v1/requests", chat(PROMPT)[:-1], platform.key)


def leaks(secrets: dict[str, str], places: dict[str, bytes]) -> list[str]:
    return [
        f"{secret} in {place}"
        for place, content in places.items()
        for secret, text in secrets.items()
        if text.encode() in content
    ]


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in KEY_FILES:
            yield path.name, path.read_bytes()


async def test_no_secret_lies_or_is_told_anywhere_in_clear(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    folder = tmp_path / "data"
    async with upstream() as engine:
        engine.always = answer
        told = await told_by_a_platform(engine, folder, config_file(config, engine.url))
        seen = len(engine.calls)

    key, admin_key = ((folder / name).read_text().strip() for name in ("api-key", "admin-key"))
    secrets = {"the prompt": PROMPT, "the answer": ANSWER, "the key": key, "the admin key": admin_key}
    assert seen > 5
    assert b"usage-recorded-v1" in told["events"]
    assert b"inference-completed-v1" in told["events"]
    assert told["log"]
    assert [] == leaks(secrets, told)


async def told_by_a_platform(engine: Upstream, folder: Path, config: str) -> dict[str, bytes]:
    """All that a platform wrote and said while it was used, by where."""
    backups = folder.with_name("backups")
    settings = {
        "PENSTOCK_CONFIG": config,
        "PENSTOCK_LOG_LEVEL": "debug",
        "PENSTOCK_LOG_FORMAT": "json",  # with a line for every request
        "PENSTOCK_JOB_EVERY_S": "1",
        "PENSTOCK_BACKUP_DIR": str(backups),
    }
    with (
        up(folder, **settings) as platform,
        started("events", "tail", "--json", "--data-dir", str(folder)) as tail,
    ):
        await anyio.sleep(1.0)
        await use(platform, (folder / "admin-key").read_text().strip())
        await anyio.sleep(1.5)
        places: dict[str, Any] = {f"{name} while it runs": content for name, content in files(folder)}
        ended = await anyio.to_thread.run_sync(partial(platform.process.stop, signal.SIGTERM))
        events = await anyio.to_thread.run_sync(tail.end)
    places |= dict(files(folder))
    archives = {
        f"the backup {path.name}": gzip.decompress(path.read_bytes()) for path in backups.rglob("*.gz")
    }
    assert archives
    places |= archives
    return places | {"log": ended.err.encode(), "events": events.out.encode(), "tail": events.err.encode()}
