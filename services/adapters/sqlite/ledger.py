"""The usage ledger in a SQLite file: pages as they came, sums beside them, and what the sweep remembers."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import partial

import msgspec

from events.usage import UsageRecorded
from events.words import Conflict, Usage
from functions.metering.bill import Increment, Line, UsageSum
from functions.metering.handler import Settlement
from functions.metering.settlement import Standing, StoredPage
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.schema import micros, moment

_APPEND = """
    INSERT OR IGNORE INTO pages (folded, id, producer, stored_at, body) VALUES (?, ?, ?, ?, ?)
"""
_ADD = """
    INSERT INTO sums (day, tenant, key, model, requests, input, output, cached, reasoning, estimated)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (day, tenant, key, model) DO UPDATE SET
        requests = requests + excluded.requests,
        input = input + excluded.input,
        output = output + excluded.output,
        cached = cached + excluded.cached,
        reasoning = reasoning + excluded.reasoning,
        estimated = estimated + excluded.estimated
"""
_PRODUCERS = """
    SELECT producer FROM pages WHERE folded = 0
    UNION SELECT producer FROM standings WHERE body <> x''
"""
_UNFOLDED = """
    SELECT id, stored_at, body FROM pages WHERE producer = ? AND folded = 0 ORDER BY seq LIMIT ?
"""
_MARK_FOLDED = "UPDATE pages SET folded = 1 WHERE id = ?"
_REMEMBER = """
    INSERT INTO standings (producer, version, body) VALUES (?, ?, ?)
    ON CONFLICT (producer) DO UPDATE SET version = excluded.version, body = excluded.body
"""
_USAGE = """
    SELECT day, tenant, key, model, requests, estimated, input, output, cached, reasoning FROM sums
    WHERE day BETWEEN ?1 AND ?2
        AND (?3 IS NULL OR tenant = ?3) AND (?4 IS NULL OR key = ?4) AND (?5 IS NULL OR model = ?5)
    ORDER BY day, tenant, key, model
"""
_PAGES = """
    SELECT id, stored_at, body FROM pages
    WHERE seq > coalesce((SELECT seq FROM pages WHERE id = ?1), 0) AND (?2 IS NULL OR producer = ?2)
    ORDER BY seq LIMIT ?3
"""

_page = msgspec.json.Decoder(UsageRecorded)


class SqliteUsageLedger:
    """The append-only ledger and the sums beside it; `now` is the clock of `stored_at`."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def append(self, page_id: str, body: bytes, producer: str, sums: Sequence[Increment]) -> bool:
        """Stores a page (JSON of a `UsageRecorded`) and adds its sums in one commit; False where the
        page was counted before.
        """
        row = (False, page_id, producer, micros(self._now()), body)
        return await self._database.write(partial(_append, row, sums))

    async def producers(self) -> Sequence[str]:
        """The producers that have pages not folded yet, or a standing."""
        return await self._database.read(_producers)

    async def standing(self, producer: str) -> tuple[Standing, int]:
        """What is remembered of a producer, and its version (0: nothing yet)."""
        return await self._database.read(partial(_standing, producer))

    async def unfolded(self, producer: str, limit: int) -> Sequence[StoredPage]:
        """The oldest pages not folded yet, in the order they were stored."""
        return await self._database.read(partial(_stored, _UNFOLDED, (producer, limit)))

    async def settle(self, settlement: Settlement, version: int) -> int:
        """Stores a settlement if the standing still has `version`, and returns the new version;
        else raises `Conflict`.
        """
        return await self._database.write(partial(_settle, settlement, version, self._now()))

    async def usage(
        self,
        tenant: str | None = None,
        key: str | None = None,
        model: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> list[UsageSum]:
        """The sums, by day, tenant, key and model; `since` and `until` are UTC days and both counted."""
        days = ((since or date.min).isoformat(), (until or date.max).isoformat())
        return await self._database.read(partial(_usage, (*days, tenant, key, model)))

    async def pages(self, producer: str | None = None, limit: int = 100, after: str = "") -> list[StoredPage]:
        """Stored pages in their order, from the first one behind the page `after`."""
        return await self._database.read(partial(_stored, _PAGES, (after, producer, limit)))


def _append(
    row: tuple[bool, str, str, int, bytes], sums: Sequence[Increment], connection: sqlite3.Connection
) -> bool:
    if not connection.execute(_APPEND, row).rowcount:
        return False
    connection.executemany(_ADD, [_values(increment) for increment in sums])
    return True


def _values(increment: Increment) -> tuple[str | int, ...]:
    line, usage = increment.line, increment.usage
    return (
        *(line.day, line.tenant, line.key, line.model, increment.requests),
        *(usage.input, usage.output, usage.cached, usage.reasoning, increment.estimated),
    )


def _producers(connection: sqlite3.Connection) -> list[str]:
    return [producer for (producer,) in connection.execute(_PRODUCERS)]


def _standing(producer: str, connection: sqlite3.Connection) -> tuple[Standing, int]:
    found = connection.execute(
        "SELECT version, body FROM standings WHERE producer = ?", (producer,)
    ).fetchone()
    version, body = found or (0, b"")
    return msgspec.json.decode(body, type=Standing) if body else Standing(producer=producer), version


def _stored(
    query: str, values: tuple[str | int | None, ...], connection: sqlite3.Connection
) -> list[StoredPage]:
    return [
        StoredPage(id=page_id, stored_at=moment(stored_at), page=_page.decode(body))
        for page_id, stored_at, body in connection.execute(query, values)
    ]


def _settle(settlement: Settlement, version: int, now: datetime, connection: sqlite3.Connection) -> int:
    producer = settlement.producer
    _, current = _standing(producer, connection)
    if current != version:
        raise Conflict(f"The standing of {producer} has version {current}, not {version}.")
    body = b"" if settlement.standing is None else msgspec.json.encode(settlement.standing)
    connection.execute(_REMEMBER, (producer, version + 1, body))
    connection.executemany(_MARK_FOLDED, [(page_id,) for page_id in settlement.folded])
    if settlement.page is not None:
        page = msgspec.json.encode(settlement.page)
        row = (True, settlement.page_id, producer, micros(now), page)
        _append(row, settlement.increments, connection)
    return version + 1


def _usage(values: tuple[str | None, ...], connection: sqlite3.Connection) -> list[UsageSum]:
    return [
        UsageSum(
            line=Line(tenant=tenant, key=key, model=model, day=day),
            requests=requests,
            estimated=estimated,
            usage=Usage(input=tokens[0], output=tokens[1], cached=tokens[2], reasoning=tokens[3]),
        )
        for day, tenant, key, model, requests, estimated, *tokens in connection.execute(_USAGE, values)
    ]
