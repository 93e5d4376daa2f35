"""A platform is backed up while it serves, dies, and comes back in another folder: nothing is missing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
import pytest

from events.bus import message_of
from events.envelope import wrap
from events.requests import Owed, RequestDocument
from events.usage import Completed, UsageRecorded
from events.words import Usage
from services.adapters.local.folder import DataFolder
from services.runtime.backups import archives_of
from services.runtime.process import utc_now
from services.runtime.settings import Settings
from services.runtime.stores import open_local
from tests.support import client
from tests.support.client import connected
from tests.support.command import Ended, Up, penstock, up
from tests.support.platform import CHAT, Running, config_file, eventually, running
from tests.support.upstream import Upstream, answers, hangs, streams, upstream
from tests.support.wire import DONE, MODEL, chat, completion, delta, request, usage, usage_event

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Result = TypeVar("Result")

BACKUPS_UNDER_LOAD = 4


async def waited(wait: Callable[..., Result], *arguments: object, **named: Any) -> Result:
    """The result of what waits for a process, while the engine in this one goes on."""
    return await anyio.to_thread.run_sync(partial(wait, *arguments, **named))


async def answer(call: Any) -> None:
    """Every call costs the same, streamed or not."""
    if call.json.get("stream"):
        await streams(delta("a"), usage_event(7, 2), DONE)(call)
    else:
        await answers(completion(usage=usage(7, 2)))(call)


class Site:
    """Data folders of one platform, the old and the new, and the engine both ask."""

    def __init__(self, folder: Path, engine: Upstream) -> None:
        self.old = folder / "old"
        self.new = folder / "new"
        self.backups = folder / "backups"
        self.engine = engine
        self._config = config_file(folder, engine.url)

    def up(self, folder: Path, **variables: str) -> Any:
        settings = {"PENSTOCK_CONFIG": self._config, "PENSTOCK_BACKUP_DIR": str(self.backups)}
        return up(folder, **settings, **variables)

    async def command(self, *words: str, folder: Path | None = None) -> Ended:
        where = ("--data-dir", str(folder or self.old))
        return await waited(penstock, *words, *where, PENSTOCK_BACKUP_DIR=str(self.backups))

    async def told(self, *words: str, folder: Path | None = None) -> Any:
        ended = await self.command(*words, "--json", folder=folder)
        assert 0 == ended.code, ended.err
        return ended.json

    async def restore(self) -> Any:
        key = str(self.old / "master-key")
        return await self.told("backup", "restore", "--master-key", key, folder=self.new)

    async def usage(self, folder: Path, requests: int) -> Any:
        """The ledger's sums, once they count so many requests."""
        rows: list[dict[str, Any]] = []

        async def counted() -> bool:
            rows[:] = await self.told("usage", folder=folder)
            return sum(row["requests"] for row in rows) >= requests

        await eventually(counted, within_s=30)
        return rows


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with upstream() as engine:
        engine.always = answer
        yield Site(tmp_path, engine)


def keyed(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}", "content-type": "application/json"}


async def ask(platform: Up, key: str, path: str = CHAT, body: bytes | None = None) -> client.Response:
    method = "GET" if body is None else "POST"
    return await client.ask(platform.port, method, path, body, keyed(key))


async def queued(platform: Up) -> str:
    name: str = (await ask(platform, platform.key, "/v1/requests", chat())).json["id"]
    return name


async def ended(platform: Up, key: str, name: str) -> Any:
    return (await ask(platform, key, f"/v1/requests/{name}?wait=20")).json


async def test_it_answers_what_was_asked_before_and_prints_the_same_usage(site: Site) -> None:
    with site.up(site.old) as first:
        for _ in range(3):
            assert 200 == (await ask(first, first.key, body=chat())).status
        name = await queued(first)
        finished = await ended(first, first.key, name)
        before = await site.usage(site.old, 4)
        taken = await site.command("backup", "run")
        for _ in range(2):  # what nobody will remember
            await ask(first, first.key, body=chat())
        listed = await site.told("backup", "list")
        first.process.child.kill()
    proof = await site.told("backup", "verify")
    await site.restore()
    with site.up(site.new) as second:
        read = await ended(second, first.key, name)
        after = await site.usage(site.new, 4)
        proven = await site.told("backup", "list", folder=site.new)
        table = await site.command("backup", "list", folder=site.new)

    assert 0 == taken.code, taken.err
    assert f"It lies in {site.old / 'master-key'}: keep a copy in another place" in taken.out
    assert str(site.backups) in taken.out
    assert ([None], [True]) == (
        [row["verified_at"] for row in listed],
        [bool(r["verified_at"]) for r in proven],
    )
    assert listed[0]["id"] == proof["backup_id"]
    assert listed[0]["id"] in table.out
    assert "completed" == finished["status"]
    assert finished == read
    assert before == after


async def test_a_request_that_was_running_is_run_once_more(site: Site) -> None:
    site.engine.will(hangs)
    with site.up(site.old) as first:
        name = await queued(first)
        await site.engine.call()
        await site.told("backup", "run")
        first.process.child.kill()
    await site.restore()
    with site.up(site.new) as second:
        read = await ended(second, first.key, name)
        rows = await site.usage(site.new, 1)

    assert ("completed", 2) == (read["status"], len(site.engine.calls))
    assert [(1, 7, 2)] == [(row["requests"], row["input_tokens"], row["output_tokens"]) for row in rows]


async def test_backups_taken_under_load_are_each_of_one_moment(site: Site) -> None:
    names: list[str] = []
    enough = asyncio.Event()
    with site.up(site.old) as first:
        async with asyncio.TaskGroup() as load:
            for _ in range(4):
                load.create_task(streaming(first, enough))
            load.create_task(queueing(first, enough, names))
            taken = [(await site.told("backup", "run"))["id"] for _ in range(BACKUPS_UNDER_LOAD)]
            enough.set()
        first.process.child.kill()
    proofs = [await site.told("backup", "verify", name) for name in taken]
    asked = len(site.engine.calls)
    await site.restore()
    with site.up(site.new) as second:
        found = {name: (await ask(second, first.key, f"/v1/requests/{name}")).status for name in names}
        waiting = [name for name, status in found.items() if status == 200]
        statuses = {(await ended(second, first.key, name))["status"] for name in waiting}
        rows = await site.told("usage", folder=site.new)

    pages = [proof["rows"]["pages"] for proof in proofs]
    assert pages == sorted(set(pages)), "nothing was written while backups were taken"
    assert {200, 404} >= set(found.values())
    assert proofs[-1]["rows"]["requests"] <= len(waiting), (taken, list(found.values()))
    assert {"completed"} == statuses
    assert len(site.engine.calls) - asked <= len(waiting)
    assert all(
        (7, 2) == (row["input_tokens"] / row["requests"], row["output_tokens"] / row["requests"])
        for row in rows
    )


async def streaming(platform: Up, enough: asyncio.Event) -> None:
    while not enough.is_set():
        async with connected(platform.port) as caller:
            await caller.send(request("POST", CHAT, chat(stream=True), keyed(platform.key)))
            await caller.response()


async def queueing(platform: Up, enough: asyncio.Event, names: list[str]) -> None:
    while not enough.is_set():
        names.append(await queued(platform))
        await asyncio.sleep(0.03)  # all of them are read again


# --- in this process


@asynccontextmanager
async def stored(folder: Path) -> AsyncIterator[Any]:
    """The stores of a folder on which no platform runs."""
    async with AsyncExitStack() as stack:
        opened = await open_local(DataFolder(folder), utc_now, stack)
        yield opened[0]


def document(**fields: Any) -> RequestDocument:
    now = utc_now()
    return RequestDocument(
        **{
            "id": "req_1", "tenant": "default", "key_id": "key_1", "url": CHAT, "model": MODEL,
            "lane": "interactive", "state": "completed", "created_at": now, "body_id": "req_1-prompt",
            "deadline_at": now + timedelta(hours=1), "expire_at": now + timedelta(days=1), "attempts": 1,
        } | fields
    )  # fmt: skip


def bill() -> Owed:
    """What a run owes the ledger."""
    completed = Completed(
        attempt="req_1.1", request="req_1", tenant="default", key="key_1", model=MODEL, backend="pool",
        at=utc_now(), outcome="finished", usage=Usage(input=7, output=2), billed=True,
    )  # fmt: skip
    page = UsageRecorded(producer="gone", records=(completed,))
    message = message_of(wrap(page, id="page-1", source="/dispatcher", time=utc_now()))
    return Owed(topic=message.topic, attributes=message.attributes, data=message.data)


async def backed_up(platform: Running) -> None:
    told = await platform.admin("POST", "/backups")
    assert told["data_bytes"] > 0


async def test_what_was_owed_when_it_was_taken_is_told_once_it_is_back(tmp_path: Path, site: Site) -> None:
    config = config_file(tmp_path, site.engine.url)
    made = {"config": config, "backup_dir": str(site.backups)}
    async with running(site.old, **made):
        pass
    await leave_debts(site.old)
    await take_cold(site.old, site.backups)
    await site.restore()
    async with running(site.new, **made) as second:
        row = await second.usage(1)
        await backed_up(second)

    assert (1, 7, 2) == (row["requests"], row["input_tokens"], row["output_tokens"])


async def leave_debts(folder: Path) -> None:
    async with stored(folder) as stores:
        await stores.requests.create(document(owed=(bill(),)))


async def take_cold(folder: Path, backups: Path) -> None:
    """A backup of a folder on which no platform runs."""
    settings = Settings(data_dir=str(folder), backup_dir=str(backups))
    await archives_of(settings, utc_now).take("20270301T120000Z-00000001", utc_now())
