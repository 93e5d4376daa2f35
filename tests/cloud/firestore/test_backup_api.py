"""The operators' endpoints about backups, where those are exports of Firestore."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from starlette.requests import Request

from events.backup import BackupFailed
from events.catalog import KNOWN
from events.envelope import Event, decode, wrap
from events.jobs import JobDue
from events.words import Invalid, Unavailable
from functions.backup.handler import Ports, handle
from services.adapters.memory.bus import MemoryBus
from services.delivery.handling import carry_out
from services.router.backups import BackupApi
from services.router.credentials import digest, mint
from services.router.gate import AdminGate
from services.runtime.cloud_backups import archives_of, told_of
from services.runtime.cloud_settings import CloudSettings, read_cloud_settings
from tests.cloud.firestore.admin_server import AdminServer, serving
from tests.contracts.adapters import START, Clock

pytestmark = pytest.mark.anyio

CALL = Request({"type": "http"})
NOWHERE = CloudSettings(
    project="p1", master_key_file="/secret/master-key", database="data", keys_database="keys"
)


class Function(MemoryBus):
    """A bus behind which the backup function does what it is asked for."""

    def __init__(self, clock: Clock, archives: Any) -> None:
        super().__init__(clock)
        self._ports = Ports(archives=archives, keep={})
        self._runs: list[asyncio.Task[None]] = []

    async def publish(self, messages: Any) -> None:
        await super().publish(messages)
        for message in messages:
            if message.topic == "job-take-backup":
                envelope = decode(message.attributes, message.data, KNOWN)
                run = carry_out(envelope, lambda one: handle(one, self._ports), super(), "/functions/backup")
                self._runs.append(asyncio.create_task(run))


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


@pytest.fixture
async def server() -> AsyncIterator[AdminServer]:
    async with serving(AdminServer(looks=0)) as made:
        yield made


@pytest.fixture
def place(server: AdminServer) -> CloudSettings:
    return replace(NOWHERE, backup_bucket="gs://acme/penstock/", firestore_emulator=server.address)


def api(place: CloudSettings, stack: AsyncExitStack) -> BackupApi:
    archives, clock = archives_of(place, stack), Clock()
    bus = Function(clock, archives)
    return BackupApi(AdminGate(digest(mint())), told_of(archives, place), bus, bus, now=clock)


async def test_an_export_is_asked_for_and_listed(
    server: AdminServer, place: CloudSettings, stack: AsyncExitStack
) -> None:
    asked = api(place, stack)
    taken = msgspec.json.decode((await asked.run(CALL)).body)
    (listed,) = msgspec.json.decode((await asked.list(CALL)).body)["data"]

    assert ("gs://acme/penstock/", "/secret/master-key") == (taken["place"], taken["master_key"])
    assert (taken["id"], 1000, 10) == (listed["id"], listed["data_bytes"], listed["data_keys_bytes"])
    assert [
        ("projects/p1/databases/data", f"gs://acme/penstock/data/{taken['id']}"),
        ("projects/p1/databases/keys", f"gs://acme/penstock/data-keys/{taken['id']}"),
    ] == [(request.name, request.output_uri_prefix) for request in server.exports]


async def test_one_that_failed_is_told_with_its_reason(
    server: AdminServer, place: CloudSettings, stack: AsyncExitStack
) -> None:
    server.fails = "the bucket is gone"

    with pytest.raises(Unavailable, match="the bucket is gone"):
        await api(place, stack).run(CALL)


async def test_without_a_bucket_both_say_what_to_set(stack: AsyncExitStack) -> None:
    asked = api(NOWHERE, stack)

    with pytest.raises(Unavailable, match="PENSTOCK_BACKUP_BUCKET is not set"):
        await asked.run(CALL)
    with pytest.raises(Invalid, match="PENSTOCK_BACKUP_BUCKET is not set"):
        await asked.list(CALL)


async def test_without_a_bucket_every_run_of_the_job_has_failed(stack: AsyncExitStack) -> None:
    due: Event = JobDue(job="take-backup", slot=START)
    envelope = wrap(due, id="1", source="/scheduler", time=START)
    (failed,) = await handle(envelope, Ports(archives=archives_of(NOWHERE, stack), keep={}))

    assert isinstance(failed, BackupFailed)
    assert "PENSTOCK_BACKUP_BUCKET" in failed.reason


def test_a_bucket_that_is_none_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    environment = {
        "GOOGLE_CLOUD_PROJECT": "p1",
        "PENSTOCK_MASTER_KEY_FILE": str(tmp_path / "key"),
        "PENSTOCK_BACKUP_BUCKET": "acme",
    }

    with pytest.raises(Invalid, match="use a bucket such as gs://"):
        read_cloud_settings(environment)
    assert (
        "gs://acme"
        == read_cloud_settings(environment | {"PENSTOCK_BACKUP_BUCKET": "gs://acme"}).backup_bucket
    )
