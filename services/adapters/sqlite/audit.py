"""Whether restored files are what a platform needs: sound, their books balanced, their bodies readable."""

import sqlite3
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from events.requests import RequestDocument
from events.usage import Completed, Settled, Started, UsageRecord, UsageRecorded
from events.words import Conflict, Invalid, Record
from functions.backup.manifest import Contents
from functions.metering.bill import Increment, increments
from services.adapters.sqlite.backup import in_line

BODIES_OF_A_TENANT = 3  # that are opened

_SUMS = "SELECT day, tenant, key, model, requests, input, output, cached, reasoning, estimated FROM sums"
_SAID = "CREATE TEMP TABLE said (what TEXT PRIMARY KEY) WITHOUT ROWID"
_TWICE = "SELECT id FROM pages NOT INDEXED GROUP BY id HAVING count(*) > 1 LIMIT 1"
_BODIES = "SELECT id, sealed FROM bodies WHERE id IN (?, ?)"

_Line = tuple[str, str, str, str]
_Open = Callable[[str, str, str, bytes], Awaitable[bytes]]


class Readable(Record):
    """What could be opened, and what cannot be because its tenant's key was erased."""

    bodies: int
    erased: int


def check_file(path: Path, contents: Contents) -> None:
    """The database is sound and holds the rows it is said to hold. Raises `Invalid`. Blocks the thread."""
    with _reading(path) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise Invalid(f"{path.name} is damaged: {in_line(verdict)}.")
        for table, rows in contents.rows.items():
            (found,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608
            if found != rows:
                raise Invalid(f"{path.name} has {found} rows of {table}, and {rows} were copied.")


def check_books(path: Path) -> None:
    """Every page, completion and settlement is there once, and all pages add up to the sums beside them.

    Raises `Invalid`. Blocks the thread; reads every page, holding one of them and one sum for each line.
    """
    totals: dict[_Line, list[int]] = defaultdict(lambda: [0] * 6)
    with _reading(path) as connection:
        if twice := connection.execute(_TWICE).fetchone():
            raise Invalid(f"The ledger has the page {twice[0]} twice.")
        connection.execute(_SAID)
        connection.execute("BEGIN")
        for (body,) in connection.execute("SELECT body FROM pages ORDER BY seq"):
            records = msgspec.json.decode(body, type=UsageRecorded).records
            _once(connection, records)
            for increment in increments(records):
                _add(totals[_line(increment)], increment)
        _compare(connection, totals)


def _once(connection: sqlite3.Connection, records: Sequence[UsageRecord]) -> None:
    for said in filter(None, map(_said, records)):
        if not connection.execute("INSERT OR IGNORE INTO said VALUES (?)", (said,)).rowcount:
            raise Invalid(f"The ledger says twice: {said}.")


def _said(record: UsageRecord) -> str | None:
    match record:
        case Started():
            return f"{record.attempt} started"
        case Completed():
            return f"{record.attempt} completed"
        case Settled():
            return f"{record.id} settled"
    return None


def _line(increment: Increment) -> _Line:
    line = increment.line
    return line.day, line.tenant, line.key, line.model


def _add(total: list[int], increment: Increment) -> None:
    usage = increment.usage
    counts = (increment.requests, usage.input, usage.output, usage.cached, usage.reasoning)
    for place, count in enumerate((*counts, increment.estimated)):
        total[place] += count


def _compare(connection: sqlite3.Connection, totals: Mapping[_Line, list[int]]) -> None:
    stored = {
        (day, tenant, key, model): counts for day, tenant, key, model, *counts in connection.execute(_SUMS)
    }
    for line in sorted(stored.keys() | totals.keys()):
        expected, found = totals.get(line, [0] * 6), stored.get(line, [0] * 6)
        if expected != found:
            raise Invalid(f"The sums of {' '.join(line)} are {found}, and its pages add up to {expected}.")


class Snapshot:
    """The wrapped data keys in a restored file, to be read only. `erased`: tenants whose key is no more."""

    def __init__(self, path: Path) -> None:
        with _reading(path) as connection:
            rows = connection.execute("SELECT tenant, wrapped FROM data_keys").fetchall()
        self.wrapped = {tenant: bytes(wrapped) for tenant, wrapped in rows if wrapped is not None}
        self.erased = frozenset(tenant for tenant, wrapped in rows if wrapped is None)

    async def get(self, tenant: str) -> bytes | None:
        """The wrapped key of a tenant."""
        return self.wrapped.get(tenant)

    async def create(self, tenant: str, wrapped: bytes) -> bytes:
        """Nothing is created here."""
        raise Conflict(f"The archive of data keys has none of {tenant}.")


async def check_bodies(path: Path, erased: frozenset[str], open_body: _Open) -> Readable:
    """The newest bodies of every tenant open. Raises `Invalid` where one does not, unless the tenant's
    key was erased: then nothing must open.
    """
    opened: dict[str, int] = defaultdict(int)
    lost = 0
    with _reading(path) as connection:
        documents = connection.execute("SELECT body FROM requests ORDER BY seq DESC")
        for document in (msgspec.json.decode(body, type=RequestDocument) for (body,) in documents):
            if document.tenant in erased:
                lost += 1
            elif opened[document.tenant] < BODIES_OF_A_TENANT:
                for kind, name, sealed in _bodies(connection, document):
                    await open_body(document.tenant, kind, name, sealed)
                    opened[document.tenant] += 1
    return Readable(bodies=sum(opened.values()), erased=lost)


def _bodies(connection: sqlite3.Connection, document: RequestDocument) -> list[tuple[str, str, bytes]]:
    kinds = {document.body_id: "prompt"}
    if document.answer is not None:
        kinds[document.answer.body_id] = "answer"
    names = [*kinds, ""][:2]
    return [(kinds[name], name, bytes(sealed)) for name, sealed in connection.execute(_BODIES, names)]


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A file nobody else has open; nothing is written beside it."""
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
            yield connection
    except (sqlite3.Error, msgspec.DecodeError) as error:
        raise Invalid(f"{path.name} cannot be read: {error}.") from error
