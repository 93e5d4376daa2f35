"""How many requests wait at one place of the queue, whatever else lies in the store."""

import sqlite3
from functools import partial
from pathlib import Path

import msgspec
import pytest

from services.adapters.sqlite.database import Database, Schema
from services.adapters.sqlite.requests import SqliteRequests
from services.adapters.sqlite.schema import DATA
from tests.contracts.adapters import Clock, Requests, data_file
from tests.contracts.test_requests import at, claimed, create, document

pytestmark = pytest.mark.anyio


async def test_only_requests_that_wait_at_that_place_are_counted(requests: Requests) -> None:
    await create(
        requests,
        document("r1", backend="pool", created_at=at(3)),
        document("r2", backend="pool", created_at=at(1), tenant="zeta"),
        document("r3", backend="pool", created_at=at(2), not_before=at(50), deadline_at=at(-1)),
        document("r4", backend="pool", created_at=at(-9), lane="batch"),
        document("r5", backend="gemini", created_at=at(-9)),
        document("r6", backend="pool", created_at=at(-9), **claimed(9)),
        document("r7", state="accepted", created_at=at(-9)),
        document("r8", backend="pool", state="completed", created_at=at(-9)),
    )

    assert (3, at(1)) == await requests.queued("pool", "interactive")
    assert (1, at(-9)) == await requests.queued("pool", "batch")
    assert (1, at(-9)) == await requests.queued("gemini", "interactive")
    assert (0, None) == await requests.queued("gemini", "batch")


async def test_a_request_is_counted_while_it_waits(requests: Requests) -> None:
    created = await requests.create(document(state="accepted"))
    version = await requests.replace(document(backend="pool"), created.version)
    assert (1, at(0)) == await requests.queued("pool", "interactive")
    await requests.replace(document(backend="pool", **claimed(9)), version)

    assert (0, None) == await requests.queued("pool", "interactive")


async def test_more_are_counted_than_are_ever_read_at_once(requests: Requests) -> None:
    await create(requests, *(document(f"r{number}", backend="pool") for number in range(250)))

    assert (250, at(0)) == await requests.queued("pool", "interactive")


async def test_requests_queued_by_the_release_before_are_counted(tmp_path: Path) -> None:
    before = Schema(application_id=DATA.application_id, steps=DATA.steps[:1])
    old = Database(tmp_path / "data.db", before)
    for made in (document("r1", backend="pool"), document("r2")):
        await old.write(partial(_store_as_before, msgspec.json.encode(made), made.id))
    await old.write(partial(_store_as_before, b"{", "spoiled"))
    await old.close()

    async with data_file(tmp_path) as database:
        requests = SqliteRequests(database, Clock())
        assert (1, at(0)) == await requests.queued("pool", "interactive")
        assert (2, at(0)) == await requests.queued("", "interactive")


def _store_as_before(body: bytes, name: str, connection: sqlite3.Connection) -> None:
    micros = int(at(0).timestamp() * 1_000_000)
    connection.execute(
        """
        INSERT INTO requests (id, version, state, tenant, lane, created_at, deadline_at, expire_at,
            not_before, lease_until, owing, written_at, body)
        VALUES (?, 1, 'routed', 'acme', 'interactive', ?, ?, ?, 0, 0, 0, ?, ?)
        """,
        (name, micros, micros, micros, micros, body),
    )
