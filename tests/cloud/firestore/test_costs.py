"""What each port call is billed for: documents read, written and deleted. Run with -s to see the table."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
import pytest

from events.journal import Entry
from functions.metering.bill import increments
from functions.metering.handler import Settlement
from services.adapters.firestore.bodies import FirestoreBodies
from services.adapters.firestore.data_keys import FirestoreDataKeys
from services.adapters.firestore.journal import FirestoreJournal
from services.adapters.firestore.keyed_calls import FirestoreKeyedCalls
from services.adapters.firestore.keys import FirestoreKeys
from services.adapters.firestore.ledger import FirestoreUsageLedger
from services.adapters.firestore.requests import FirestoreRequests
from tests.cloud.firestore.opening import watched_database
from tests.cloud.firestore.watching import Costs
from tests.contracts.adapters import START, Clock
from tests.contracts.test_keyed_calls import CALL
from tests.contracts.test_keys import ACME, KEY
from tests.contracts.test_ledger import PRODUCER, completed, page, standing_with, started
from tests.contracts.test_requests import OWED, claimed, document

pytestmark = pytest.mark.anyio

SOON = START + timedelta(seconds=10)
LARGE = bytes(2_000_000)  # of three chunks
TENANTS = ("acme", "mid", "zeta")
PAGE = page(started(), completed(), completed("b.1", tenant="zeta"))
SUMS = increments(PAGE.records)


def entry(place: int) -> Entry:
    first = 3 * place + 3
    return Entry(
        request="r", place=place, attempt=1, first=first, next=first + 3, expire_at=SOON, sealed=b"e"
    )


class Ports:
    """All stores on one database, with a few things in them."""

    def __init__(self, database: Any) -> None:
        clock = Clock()
        self.requests = FirestoreRequests(database, clock)
        self.bodies = FirestoreBodies(database, clock)
        self.journal = FirestoreJournal(database, clock)
        self.ledger = FirestoreUsageLedger(database, clock)
        self.keyed_calls = FirestoreKeyedCalls(database, clock)
        self.keys = FirestoreKeys(database)
        self.data_keys = FirestoreDataKeys(database)

    async def fill(self) -> None:
        """Twelve waiting requests of three tenants, four running, two bodies, two pages."""
        waiting = [document(f"{tenant}{n}", tenant=tenant) for tenant in TENANTS for n in range(4)]
        running = [document(f"running{n}", **claimed(until_s=5)) for n in range(4)]
        others = [
            document("owing", state="completed", owed=OWED),
            document("over", state="failed", expire_at=START),
        ]
        await asyncio.gather(*(self.requests.create(made) for made in (*waiting, *running, *others)))
        await self.bodies.put("small", b"small", SOON)
        await self.bodies.put("large", LARGE, SOON)
        await self.journal.append(entry(0))
        await self.journal.append(entry(1))
        await self.append("p1")
        await self.append("p2")
        await self.keys.add_tenant(ACME)
        await self.keys.add(KEY)
        await self.data_keys.create("acme", b"wrapped")

    async def append(self, page_id: str) -> bool:
        return await self.ledger.append(page_id, msgspec.json.encode(PAGE), PRODUCER, SUMS)

    async def replace(self) -> int:
        found = await self.requests.get("acme0")
        assert found is not None
        return await self.requests.replace(document("acme0", attempts=1), found.version)

    async def settle(self) -> int:
        rows = page(completed("c.1"))
        settlement = Settlement(
            producer=PRODUCER,
            folded=("p1", "p2"),
            standing=standing_with("a.1"),
            page_id="est",
            page=rows,
            increments=increments(rows.records),
        )
        return await self.ledger.settle(settlement, 0)


class Row(NamedTuple):
    """A call, and what it costs here: reads, writes, deletes, round trips."""

    name: str
    call: Callable[[Ports], Awaitable[object]]
    costs: tuple[int, int, int, int]


ROWS = (
    Row("requests.create", lambda p: p.requests.create(document("new")), (0, 1, 0, 1)),
    Row("requests.create, known", lambda p: p.requests.create(document("new")), (1, 1, 0, 2)),
    Row("requests.get", lambda p: p.requests.get("acme0"), (1, 0, 0, 1)),
    Row("requests.get + replace", lambda p: p.replace(), (1, 1, 0, 2)),
    Row("requests.waiting_tenants, of 3", lambda p: p.requests.waiting_tenants(START), (5, 0, 0, 5)),
    Row("requests.waiting, 4", lambda p: p.requests.waiting("mid", "interactive", START, 8), (4, 0, 0, 1)),
    Row("requests.overdue, none", lambda p: p.requests.overdue(START, 100), (1, 0, 0, 1)),
    Row("requests.lost, 4", lambda p: p.requests.lost(SOON, 100), (4, 0, 0, 1)),
    Row("requests.stale, none", lambda p: p.requests.stale(START, 100), (1, 0, 0, 1)),
    Row("requests.owing, 1", lambda p: p.requests.owing(SOON, 100), (1, 0, 0, 1)),
    Row("requests.forget, 1", lambda p: p.requests.forget(START, 100), (1, 0, 1, 2)),
    Row("bodies.put, small", lambda p: p.bodies.put("a", b"small", SOON), (0, 1, 0, 1)),
    Row("bodies.put, 2 MB", lambda p: p.bodies.put("b", LARGE, SOON), (0, 4, 0, 4)),
    Row("bodies.get, small", lambda p: p.bodies.get("small"), (1, 0, 0, 1)),
    Row("bodies.get, 2 MB", lambda p: p.bodies.get("large"), (4, 0, 0, 2)),
    Row("bodies.delete, small", lambda p: p.bodies.delete(["small"]), (1, 0, 1, 2)),
    Row("bodies.delete, 2 MB", lambda p: p.bodies.delete(["large"]), (3, 0, 4, 2)),
    Row("bodies.forget, 2 of 2 MB", lambda p: p.bodies.forget(SOON, 100), (5, 0, 5, 4)),
    Row("bodies.forget, none", lambda p: p.bodies.forget(SOON, 100), (2, 0, 0, 2)),
    Row("journal.append", lambda p: p.journal.append(entry(2)), (0, 1, 0, 1)),
    Row("journal.place_of", lambda p: p.journal.place_of("r", 5), (1, 0, 0, 1)),
    Row("journal.read, 3", lambda p: p.journal.read("r", 0, 50), (3, 0, 0, 1)),
    Row("journal.read, none", lambda p: p.journal.read("r", 3, 50), (1, 0, 0, 1)),
    Row("journal.remove, 3", lambda p: p.journal.remove("r"), (3, 0, 3, 2)),
    Row("ledger.append, 2 lines", lambda p: p.append("p3"), (0, 3, 0, 1)),
    Row("ledger.append, known", lambda p: p.append("p3"), (1, 3, 0, 2)),
    Row("ledger.producers, of 1", lambda p: p.ledger.producers(), (3, 0, 0, 3)),
    Row("ledger.unfolded, 3", lambda p: p.ledger.unfolded(PRODUCER, 100), (3, 0, 0, 1)),
    Row("ledger.settle, 2 pages and 1 row", lambda p: p.settle(), (1, 5, 0, 2)),
    Row("ledger.standing", lambda p: p.ledger.standing(PRODUCER), (1, 0, 0, 1)),
    Row("ledger.usage, of 2 lines", lambda p: p.ledger.usage(), (6, 0, 0, 1)),
    Row("keys.revision", lambda p: p.keys.revision(), (1, 0, 0, 1)),
    Row("keys.by_hash", lambda p: p.keys.by_hash(KEY.hash), (1, 0, 0, 1)),
    Row("keys.by_id", lambda p: p.keys.by_id("acme", KEY.id), (1, 0, 0, 1)),
    Row("keys.revoke", lambda p: p.keys.revoke(KEY.id, START), (1, 2, 0, 2)),
    Row("keyed_calls.create", lambda p: p.keyed_calls.create(CALL), (0, 1, 0, 1)),
    Row("keyed_calls.create, known", lambda p: p.keyed_calls.create(CALL), (1, 1, 0, 2)),
    Row("keyed_calls.get", lambda p: p.keyed_calls.get(CALL.id), (1, 0, 0, 1)),
    Row("data_keys.get", lambda p: p.data_keys.get("acme"), (1, 0, 0, 1)),
    Row("data_keys.erase", lambda p: p.data_keys.erase("acme"), (0, 1, 0, 1)),
)


async def test_what_every_call_costs() -> None:
    found: list[tuple[str, tuple[int, int, int, int]]] = []
    async with watched_database() as (database, watched):
        ports = Ports(database)
        await ports.fill()
        for row in ROWS:
            watched.costs = Costs()
            await row.call(ports)
            costs = watched.costs
            found.append((row.name, (costs.reads, costs.writes, costs.deletes, costs.calls)))

    print(f"\n{'call':34} reads writes deletes trips")
    for name, (reads, writes, deletes, trips) in found:
        print(f"{name:34} {reads:5} {writes:6} {deletes:7} {trips:5}")
    assert [(row.name, row.costs) for row in ROWS] == found
