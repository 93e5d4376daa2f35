"""Dead letters whose time is over leave the file too, a few at a time."""

import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from events.bus import Message
from events.catalog import Subscription
from services.adapters.sqlite import deliveries
from services.adapters.sqlite.bus import TIDY_AT_ONCE, TIDY_EVERY, SqliteBus
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.schema import DATA
from tests.contracts.adapters import Clock

pytestmark = pytest.mark.anyio

READER = Subscription(topic="news", consumer="reader")
MANY = 2 * TIDY_AT_ONCE + 1
MONTH_S = timedelta(days=31).total_seconds()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "data.db", DATA)
    yield opened
    await opened.close()


@pytest.fixture
async def bus(database: Database, clock: Clock) -> SqliteBus:
    bus = await SqliteBus.open(database, clock)
    await bus.ensure([READER])
    return bus


async def buried(bus: SqliteBus, count: int) -> None:
    await bus.publish([Message(topic="news", attributes={}, data=b"") for _ in range(count)])
    for message in await bus.receive(READER.name, count):
        await bus.dead_letter(READER.name, message.id, "bad")


async def rows(database: Database) -> int:
    def count(connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT count(*) FROM dead_letters").fetchone()[0])

    return await database.read(count)


async def looks(bus: SqliteBus) -> None:
    """A receiver looks once."""
    await bus.publish([Message(topic="news", attributes={}, data=b"")])
    (message,) = await bus.receive(READER.name, 1)
    await bus.ack(READER.name, [message.id])


async def test_receivers_forget_what_has_been_dead_too_long(
    bus: SqliteBus, database: Database, clock: Clock
) -> None:
    await buried(bus, MANY)
    clock.forward(MONTH_S)
    left = []
    for _ in range(3):
        await looks(bus)
        left.append(await rows(database))

    assert [MANY - TIDY_AT_ONCE, MANY - 2 * TIDY_AT_ONCE, 0] == left


async def test_what_is_young_stays_and_is_not_looked_for_all_the_time(
    bus: SqliteBus, database: Database, clock: Clock
) -> None:
    await buried(bus, 2)
    clock.forward(MONTH_S - 1)
    await looks(bus)
    assert 2 == await rows(database)

    clock.forward(1)
    await looks(bus)
    assert 2 == await rows(database)
    clock.forward(TIDY_EVERY.total_seconds() - 1)
    await looks(bus)
    assert 0 == await rows(database)


async def test_forgetting_reads_no_more_than_it_may_forget(database: Database, clock: Clock) -> None:
    asked: list[str] = []

    def forget(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(asked.append)
        deliveries.forget_dead(clock(), 100, connection)
        connection.set_trace_callback(None)

    def plan(connection: sqlite3.Connection) -> list[str]:
        return [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {asked[0]}")]

    await database.write(forget)
    steps = await database.read(plan)

    assert "SEARCH dead_letters USING INTEGER PRIMARY KEY (rowid=?)" in steps
    assert [] == [step for step in steps if "ORDER BY" in step]
