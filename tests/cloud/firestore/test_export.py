"""Exports and imports by Google's own client, against a server that speaks the Admin API's messages."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from events.backup import BackupCompleted, BackupFailed
from events.envelope import Event, wrap
from events.jobs import JobDue
from events.words import Invalid, Unavailable
from functions.backup.handler import Ports, handle
from functions.backup.manifest import Kind, backup_id
from services.adapters.firestore.export import FirestoreExports, Patience, Place, close, connect
from tests.cloud.firestore.admin_server import AdminServer, serving

pytestmark = pytest.mark.anyio

AT = datetime(2027, 3, 1, 12, 0, 31, 5, tzinfo=UTC)
MINUTE = datetime(2027, 3, 1, 12, tzinfo=UTC)
FIRST, SECOND = "20270301T120000Z-00000001", "20270301T123000Z-00000002"
PLACES: dict[Kind, Place] = {
    "data": Place(database="(default)", prefix="gs://bucket/penstock/data"),
    "data-keys": Place(database="data-keys", prefix="gs://bucket/penstock/data-keys"),
}
QUICK = Patience(call_s=10.0, poll_s=0.01, within_s=0.5)
GRPC = grpc.StatusCode


@pytest.fixture
async def server() -> AsyncIterator[AdminServer]:
    async with serving(AdminServer()) as made:
        yield made


@pytest.fixture
async def exports(server: AdminServer) -> AsyncIterator[FirestoreExports]:
    api = connect(server.address)
    yield FirestoreExports(api, "p1", PLACES, QUICK)
    await close(api)


async def told(exports: FirestoreExports) -> Event:
    event = JobDue(job="take-backup", slot=AT)
    (emitted,) = await handle(
        wrap(event, id="e1", source="/scheduler", time=AT), Ports(archives=exports, keep={})
    )
    return emitted


async def test_both_databases_are_exported_as_they_were_at_one_minute(
    server: AdminServer, exports: FirestoreExports
) -> None:
    taken = await exports.take(FIRST, AT)
    asked = [
        (request.name, request.output_uri_prefix, request.snapshot_time.ToDatetime(UTC))
        for request in server.exports
    ]

    assert [
        ("projects/p1/databases/(default)", f"gs://bucket/penstock/data/{FIRST}", MINUTE),
        ("projects/p1/databases/data-keys", f"gs://bucket/penstock/data-keys/{FIRST}", MINUTE),
    ] == asked
    assert taken is not None
    assert [("data", FIRST, MINUTE, 1000), ("data-keys", FIRST, MINUTE, 10)] == [
        (archive.kind, archive.backup_id, archive.taken_at, archive.bytes) for archive in taken
    ]


async def test_the_end_is_waited_for(server: AdminServer, exports: FirestoreExports) -> None:
    server.looks = 4
    assert 2 == len(await exports.take(FIRST, AT) or ())


async def test_one_that_takes_longer_is_found_again_and_not_begun_twice(
    server: AdminServer, exports: FirestoreExports
) -> None:
    server.looks = None
    assert await exports.take(FIRST, AT) is None
    server.end_all()

    assert 2 == len(await exports.take(FIRST, AT) or ())
    assert 2 == len(server.exports)


async def test_one_that_began_unheard_is_found_again(server: AdminServer, exports: FirestoreExports) -> None:
    server.unheard = True
    assert await exports.take(FIRST, AT) is None

    assert 2 == len(await exports.take(FIRST, AT) or ())
    assert 2 == len(server.exports)


async def test_it_is_found_among_many(server: AdminServer, exports: FirestoreExports) -> None:
    for number in range(5):  # more than one page of the list
        await exports.take(f"{FIRST}{number}", AT)
    before = len(server.exports)
    for number in range(5):
        await exports.take(f"{FIRST}{number}", AT)

    assert before == len(server.exports)
    assert [f"{FIRST}{number}" for number in range(5) for _ in PLACES] == [
        archive.backup_id for archive in await exports.kept()
    ]


async def test_what_has_not_ended_or_is_not_ours_is_not_listed(
    server: AdminServer, exports: FirestoreExports
) -> None:
    await exports.take(FIRST, AT)
    server.looks = None
    await exports.take(SECOND, AT)

    assert [FIRST, FIRST] == [archive.backup_id for archive in await exports.kept()]


@pytest.mark.parametrize("code", [GRPC.UNAVAILABLE, GRPC.DEADLINE_EXCEEDED, GRPC.RESOURCE_EXHAUSTED])
async def test_what_passes_is_no_failure(server: AdminServer, exports: FirestoreExports, code: Any) -> None:
    server.will(code)
    assert await exports.take(FIRST, AT) is None
    with pytest.raises(Unavailable, match="still being written"):
        server.will(code)
        await told(exports)

    assert isinstance(await told(exports), BackupCompleted)


async def test_a_look_that_fails_is_made_again(server: AdminServer, exports: FirestoreExports) -> None:
    ok = GRPC.OK
    server.will(ok, ok, ok, ok, GRPC.UNAVAILABLE, GRPC.UNAVAILABLE)  # two lists, two exports, then looks
    assert 2 == len(await exports.take(FIRST, AT) or ())


@pytest.mark.parametrize("code", [GRPC.PERMISSION_DENIED, GRPC.INVALID_ARGUMENT, GRPC.NOT_FOUND])
async def test_what_google_refuses_is_told(server: AdminServer, exports: FirestoreExports, code: Any) -> None:
    server.will(code)
    failed = await told(exports)

    assert (
        BackupFailed(backup_id=backup_id("e1", AT), reason="Firestore did not export the databases: told to")
        == failed
    )


async def test_an_export_that_failed_is_told(server: AdminServer, exports: FirestoreExports) -> None:
    server.fails = "the bucket is gone"
    failed = await told(exports)

    assert isinstance(failed, BackupFailed)
    assert "failed: the bucket is gone" in failed.reason
    assert [] == await exports.kept()


async def test_exports_are_not_deleted_here(exports: FirestoreExports) -> None:
    await exports.delete([])
    with pytest.raises(Invalid, match="lifecycle rules of their bucket"):
        await exports.delete(await exports.take(FIRST, AT) or ())


async def test_an_export_is_brought_back_into_a_new_database(
    server: AdminServer, exports: FirestoreExports
) -> None:
    await exports.bring_back("data", FIRST, "drill-20270301")
    (asked,) = server.imports

    assert ("projects/p1/databases/drill-20270301", f"gs://bucket/penstock/data/{FIRST}") == (
        asked.name,
        asked.input_uri_prefix,
    )


@pytest.mark.parametrize("database", ["(default)", "data-keys"])
async def test_a_database_in_use_is_never_imported_into(
    server: AdminServer, exports: FirestoreExports, database: str
) -> None:
    with pytest.raises(Invalid, match=r"is in use\. Name a new one"):
        await exports.bring_back("data", FIRST, database)
    assert [] == server.imports


async def test_an_import_that_fails_or_goes_on_is_told(
    server: AdminServer, exports: FirestoreExports
) -> None:
    server.will(GRPC.PERMISSION_DENIED, GRPC.UNAVAILABLE)
    for kind in (Invalid, Unavailable):
        with pytest.raises(kind, match="did not import"):
            await exports.bring_back("data", FIRST, "new")
    server.looks = None
    with pytest.raises(Unavailable, match="goes on: look for its end"):
        await exports.bring_back("data", FIRST, "new")
    server.looks, server.fails = 0, "no such export"
    with pytest.raises(Invalid, match="failed: no such export"):
        await exports.bring_back("data", FIRST, "new")


async def test_a_list_that_cannot_be_had_is_told(server: AdminServer, exports: FirestoreExports) -> None:
    server.will(GRPC.UNAVAILABLE)
    with pytest.raises(Unavailable, match="did not list its exports"):
        await exports.kept()


async def test_an_emulator_is_told_from_a_failure(server: AdminServer, exports: FirestoreExports) -> None:
    server.will(GRPC.UNIMPLEMENTED, GRPC.UNIMPLEMENTED)
    failed = await told(exports)

    assert isinstance(failed, BackupFailed)
    assert "its emulator has no Admin API" in failed.reason
    with pytest.raises(Invalid, match="its emulator has no Admin API"):
        await exports.kept()
