from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.adapters.firestore.data_keys import FirestoreDataKeys
from services.adapters.firestore.database import AT_ONCE, Database, Moved, close, connect
from services.adapters.firestore.documents import (
    ABSENT,
    EPOCH,
    Query,
    Value,
    amend,
    count,
    create,
    delete,
    put,
    replace,
)
from tests.cloud import emulators

pytestmark = pytest.mark.anyio

VALUES: dict[str, Value] = {
    "text": "é\x00",
    "number": -(2**63),
    "yes": True,
    "bytes": b"\x00\xff",
    "time": datetime(2027, 3, 1, 12, 0, 0, 123456, tzinfo=UTC),
    "early": datetime(1, 1, 1, tzinfo=UTC),
    "epoch": EPOCH,
    "none": None,
}


@pytest.fixture
async def api() -> AsyncIterator[Any]:
    connected = connect(emulators.firestore().address)
    yield connected
    await close(connected)


@pytest.fixture
def database(api: Any) -> Database:
    return Database.on_emulator(api, emulators.fresh_project())


async def test_values_come_back_as_they_were_written(database: Database) -> None:
    (version,) = await database.commit([put("c/a", VALUES)])
    stored = await database.get("c/a")

    assert stored is not None
    assert (stored.path, stored.fields, stored.version) == ("c/a", VALUES, version)
    part = await database.get("c/a", fields=("text",))
    assert part is not None
    assert (part.fields, part.version) == ({"text": "é\x00"}, version)


async def test_a_commit_is_whole_or_nothing(database: Database) -> None:
    await database.commit([create("c/a", {"n": 1})])
    with pytest.raises(Moved):
        await database.commit([put("c/b", {"n": 1}), create("c/a", {"n": 2})])
    with pytest.raises(Moved):
        await database.commit([put("c/b", {"n": 1}), amend("c/none", {"n": 2})])

    assert [stored.path for stored in await database.find(Query(collection="c"))] == ["c/a"]


async def test_a_write_on_a_version_needs_that_version(database: Database) -> None:
    (first,) = await database.commit([replace("c/a", {"n": 1}, ABSENT)])
    (second,) = await database.commit([replace("c/a", {"n": 2}, first)])

    assert first < second
    for write in (replace("c/a", {"n": 3}, first), replace("c/b", {"n": 3}, first), delete("c/a", first)):
        with pytest.raises(Moved):
            await database.commit([write])
    assert await database.commit([delete("c/a", second)]) == [0]


async def test_counting_needs_no_document_and_adds_to_one(database: Database) -> None:
    for _ in range(2):
        await database.commit([count("c/a", {"day": "d"}, {"n": 5, "m": -1})])
    stored = await database.get("c/a")

    assert stored is not None
    assert stored.fields == {"day": "d", "n": 10, "m": -2}


async def test_writes_of_a_batch_stand_each_for_itself_however_many(database: Database) -> None:
    many = [put(f"c/{n:04}", {"n": n}) for n in range(AT_ONCE + 1)]
    assert await database.each(many) == [True] * len(many)
    (version,) = await database.commit([put("c/0000", {"n": -1})])

    deleted = [delete("c/0000", version), delete("c/0001", version), delete("c/none")]
    assert await database.each(deleted) == [True, False, True]
    assert await database.each([]) == []
    assert len(await database.find(Query(collection="c", fields=()))) == AT_ONCE


async def test_a_query_goes_on_behind_a_document(database: Database) -> None:
    times = [EPOCH + timedelta(seconds=n // 2) for n in range(5)]
    await database.commit([put(f"c/{n}", {"at": at}) for n, at in enumerate(times)])
    behind = Query(collection="c", order=("at",), after=((times[2],), "c/2"), limit=2)

    assert [stored.path for stored in await database.find(behind)] == ["c/3", "c/4"]


async def test_databases_of_a_project_are_apart(api: Any) -> None:
    project = emulators.fresh_project()
    data, secrets = (Database.on_emulator(api, project, name) for name in ("(default)", "data-keys"))
    await FirestoreDataKeys(secrets).create("acme", b"wrapped")

    assert await FirestoreDataKeys(secrets).get("acme") == b"wrapped"
    assert await FirestoreDataKeys(data).get("acme") is None
