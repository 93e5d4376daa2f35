"""The operators' endpoints about backups: one more now, those there are, and why none can be taken."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.requests import Request

from events.backup import BackupCompleted
from events.bus import message_of
from events.catalog import KNOWN
from events.envelope import decode, wrap
from events.words import Unavailable
from functions.backup.handler import Ports, handle
from services.adapters.memory.archives import MemoryArchives
from services.adapters.memory.bus import MemoryBus
from services.router.backups import BackupApi, Backups
from services.router.credentials import digest, mint
from services.router.gate import AdminGate
from tests.contracts.adapters import START, Clock
from tests.support import client
from tests.support.rehearsing import MODEL, rehearsing

pytestmark = pytest.mark.anyio

CALL = Request({"type": "http"})


class Watched(MemoryBus):
    """A bus on which one may wait for whoever watches it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.published: list[Any] = []

    async def publish(self, messages: Any) -> None:
        self.published.extend(messages)
        await super().publish(messages)


def api(bus: MemoryBus, archives: MemoryArchives, clock: Clock, wait_s: float) -> BackupApi:
    gate = AdminGate(digest(mint()))
    told = Backups(archives=archives, place="/backups", master_key="/data/master-key")
    return BackupApi(gate, told, bus, bus, now=clock, wait_s=wait_s)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_backup_is_taken_while_one_waits_and_is_listed(tmp_path: Path) -> None:
    async with rehearsing(tmp_path) as made:
        await made.chat(model=MODEL)
        taken = await made.admin("POST", "/backups")
        listed = (await made.admin("GET", "/backups"))["data"]

    assert (str(tmp_path / "backups"), str(tmp_path / "master-key")) == (taken["place"], taken["master_key"])
    assert [
        {name: taken[name] for name in ("id", "taken_at", "data_bytes", "data_keys_bytes")}
        | {"verified_at": None}
    ] == listed
    assert (tmp_path / "backups" / "data" / taken["id"] / "data.db.gz").stat().st_size == taken["data_bytes"]


async def test_why_none_can_be_taken_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    async with rehearsing(tmp_path, backup_dir=str(tmp_path / "file" / "backups")) as made:
        headers = {"authorization": f"Bearer {made.admin_key}"}
        answer = await client.ask(made.port, "POST", "/admin/v1/backups", b"", headers)

    assert (503, "unavailable") == (answer.status, answer.error["code"])
    assert "Nothing can be kept in" in answer.error["message"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nobody_but_operators_asks(tmp_path: Path, method: str) -> None:
    async with rehearsing(tmp_path) as made:
        answer = await made.call(method, "/admin/v1/backups")
    assert (401, "invalid_admin_key") == (answer.status, answer.error["code"])


async def test_one_that_takes_long_is_named_and_goes_on(clock: Clock) -> None:
    bus, archives = Watched(clock), MemoryArchives(lambda kind: 7, clock)
    answer = await api(bus, archives, clock, wait_s=0.01).run(CALL)
    told = msgspec.json.decode(answer.body)
    (message,) = bus.published
    await handle(decode(message.attributes, message.data, KNOWN), Ports(archives=archives, keep={}))

    assert (202, "/data/master-key") == (answer.status_code, told["master_key"])
    assert {told["id"]} == {archive.backup_id for archive in await archives.kept()}


async def test_it_is_not_asked_for_before_its_end_can_be_heard(clock: Clock) -> None:
    class Slow(Watched):
        """A bus that is heard only once a watch is ready."""

        def watch(self) -> Any:
            opened, heard = super().watch(), self.published

            class Opening:
                async def ready(self) -> None:
                    assert [] == heard

                def __aiter__(self) -> Any:
                    return opened

                async def aclose(self) -> None:
                    await opened.aclose()

            self.opened = Opening()
            return self.opened

    bus = Slow(clock)
    await api(bus, MemoryArchives(lambda kind: 7, clock), clock, wait_s=0.01).run(CALL)

    assert 1 == len(bus.published)


async def test_the_end_of_another_backup_is_not_taken_for_its_own(clock: Clock) -> None:
    bus, archives = Watched(clock), MemoryArchives(lambda kind: 7, clock)
    running = asyncio.create_task(api(bus, archives, clock, wait_s=0.2).run(CALL))
    while not bus.published:
        await asyncio.sleep(0)
    other = BackupCompleted(backup_id="other", taken_at=START, data_bytes=1, data_keys_bytes=1)
    await bus.publish([message_of(wrap(other, id="1", source="/test", time=START))])

    assert 202 == (await running).status_code


async def test_a_bus_that_is_away_is_told(clock: Clock) -> None:
    class Away(MemoryBus):
        async def publish(self, messages: Any) -> None:
            raise Unavailable("The bus is away.")

    with pytest.raises(Unavailable):
        await api(Away(clock), MemoryArchives(lambda kind: 7, clock), clock, wait_s=1).run(CALL)


async def test_what_is_left_of_a_backup_is_listed_newest_first(clock: Clock) -> None:
    archives = MemoryArchives(lambda kind: 7, clock)
    await archives.take("1", START)
    _, keys = await archives.take("2", START)
    await archives.delete([keys])
    answer = await api(MemoryBus(clock), archives, clock, wait_s=1).list(CALL)
    rows = msgspec.json.decode(answer.body)["data"]

    assert [("2", None), ("1", 7)] == [(row["id"], row.get("data_keys_bytes")) for row in rows]
