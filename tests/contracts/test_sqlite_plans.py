"""No question asked again and again reads a whole table, however much lies in it."""

import re
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from events.catalog import Subscription
from services.adapters.sqlite import deliveries
from services.adapters.sqlite.bodies import SqliteBodies
from services.adapters.sqlite.bus import SqliteBus
from services.adapters.sqlite.cache import SqliteCache
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.journal import SqliteJournal
from services.adapters.sqlite.keyed_calls import SqliteKeyedCalls
from services.adapters.sqlite.ledger import SqliteUsageLedger
from services.adapters.sqlite.requests import SqliteRequests
from tests.contracts.adapters import START, Clock, data_file

pytestmark = pytest.mark.anyio

SUBSCRIPTION = Subscription(topic="news", consumer="reader")
READER = SUBSCRIPTION.name
TABLES = ("messages", "pages", "standings", "requests", "bodies", "cached", "journal", "keyed_calls")
PARTIAL = ("messages_due", "pages_unfolded", "standings_open", "requests_running")

Ask: TypeAlias = Callable[[Database], Awaitable[object]]


def requests(database: Database) -> SqliteRequests:
    return SqliteRequests(database, Clock())


def ledger(database: Database) -> SqliteUsageLedger:
    return SqliteUsageLedger(database, Clock())


async def bus(database: Database) -> SqliteBus:
    bus = SqliteBus(database, Clock())
    await bus.ensure([SUBSCRIPTION])
    return bus


async def nack(database: Database) -> None:
    await (await bus(database)).nack(READER, "a")


async def ack(database: Database) -> None:
    await (await bus(database)).ack(READER, ["a"])


async def release(database: Database) -> None:
    await (await bus(database)).release_all()


async def lease(database: Database) -> None:
    await database.write(partial(deliveries.lease, SUBSCRIPTION, 10, START))


QUESTIONS: dict[str, Ask] = {
    "get": lambda database: requests(database).get("r1"),
    "waiting_tenants": lambda database: requests(database).waiting_tenants(START),
    "waiting": lambda database: requests(database).waiting("acme", "batch", START, 10),
    "queued": lambda database: requests(database).queued("pool", "batch"),
    "overdue": lambda database: requests(database).overdue(START, 10),
    "lost": lambda database: requests(database).lost(START, 10),
    "running": lambda database: requests(database).running(10),
    "stale": lambda database: requests(database).stale(START, 10),
    "owing": lambda database: requests(database).owing(START, 10),
    "forget": lambda database: requests(database).forget(START, 10),
    "producers": lambda database: ledger(database).producers(),
    "standing": lambda database: ledger(database).standing("r"),
    "unfolded": lambda database: ledger(database).unfolded("r", 10),
    "body": lambda database: SqliteBodies(database, Clock()).get("b"),
    "forget bodies": lambda database: SqliteBodies(database, Clock()).forget(START, 10),
    "read a journal": lambda database: SqliteJournal(database, Clock()).read("r", 0, 10),
    "find a place": lambda database: SqliteJournal(database, Clock()).place_of("r", 3),
    "remove a journal": lambda database: SqliteJournal(database, Clock()).remove("r"),
    "forget entries": lambda database: SqliteJournal(database, Clock()).forget(START, 10),
    "cached": lambda database: SqliteCache(database, Clock()).get("k"),
    "forget cached": lambda database: SqliteCache(database, Clock()).forget(START, 10),
    "purge a tenant": lambda database: SqliteCache(database, Clock()).remove("tenant", "acme", 10),
    "purge a model": lambda database: SqliteCache(database, Clock()).remove("model", "gemma", 10),
    "purge a key": lambda database: SqliteCache(database, Clock()).remove("key", "k", 10),
    "keyed call": lambda database: SqliteKeyedCalls(database, Clock()).get("k"),
    "forget keyed calls": lambda database: SqliteKeyedCalls(database, Clock()).forget(START, 10),
    "lease": lease,
    "ack": ack,
    "nack": nack,
    "release": release,
}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=list(QUESTIONS))
async def test_a_question_is_answered_from_an_index(ask: Ask, tmp_path: Path) -> None:
    asked: list[str] = []

    def listen(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(asked.append)

    async with data_file(tmp_path) as database:
        await database.write(listen)
        await database.read(listen)
        await ask(database)
        plans = [step for query in asked for step in await database.read(partial(plan, query))]

    assert any("INDEX" in step or "PRIMARY KEY" in step for step in plans)
    assert [step for step in plans if _reads_all(step)] == []


def plan(query: str, connection: sqlite3.Connection) -> list[str]:
    if query.split(maxsplit=1)[0] not in ("SELECT", "UPDATE", "DELETE", "WITH"):
        return []
    connection.set_trace_callback(None)
    return [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {query}")]


def _reads_all(step: str) -> bool:
    """Sorting, or a scan of a table or of an index that holds all of it."""
    scanned = re.match(r"SCAN (\w+)(?:.* INDEX (\w+))?", step)
    whole = scanned is not None and scanned[1] in TABLES and scanned[2] not in PARTIAL
    return whole or "FOR ORDER BY" in step
