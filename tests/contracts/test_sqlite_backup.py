"""Copies of a SQLite file that is written to, and what is found wrong with files that were brought back."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from events.usage import Completed, Settled, Started, UsageRecord, UsageRecorded
from events.words import Invalid, Unavailable, Usage
from functions.backup.manifest import Books
from functions.metering.bill import increments
from services.adapters.sqlite import backup
from services.adapters.sqlite.audit import Snapshot, check_books, check_file
from services.adapters.sqlite.backup import copy
from services.adapters.sqlite.data_keys import SqliteDataKeys
from services.adapters.sqlite.database import Database, Schema
from services.adapters.sqlite.ledger import SqliteUsageLedger
from services.adapters.sqlite.schema import DATA
from tests.contracts.adapters import START, Clock

pytestmark = pytest.mark.anyio

NOTES = Schema(application_id=0x0707, steps=(("CREATE TABLE notes (n INTEGER, text TEXT)",),))
ROWS = 50
WIDE = "x" * 100_000  # of all of them a step copies but a part
PLACE = {"tenant": "acme", "key": "k1", "model": "m", "backend": "pool"}


def note(number: int) -> Callable[[sqlite3.Connection], None]:
    """A job whose two rows belong together."""

    def write(connection: sqlite3.Connection) -> None:
        for _ in range(2):
            connection.execute("INSERT INTO notes VALUES (?, ?)", (number, WIDE))

    return write


def numbers(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [n for (n,) in connection.execute("SELECT n FROM notes ORDER BY rowid")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = Database(path, NOTES)
    await asyncio.gather(*(database.write(note(number)) for number in range(ROWS)))
    yield database
    await database.close()


# --- copying


async def test_a_copy_has_every_row_and_says_so(database: Database, path: Path, tmp_path: Path) -> None:
    contents = copy(path, tmp_path / "copy")

    assert (1, {"notes": 2 * ROWS}, None) == (contents.schema, contents.rows, contents.books)
    assert numbers(path) == numbers(tmp_path / "copy")
    assert ["copy"] == [file.name for file in tmp_path.iterdir() if not file.name.startswith("notes")]


async def test_a_copy_shows_one_moment_and_holds_up_no_writer(
    database: Database, path: Path, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    waited: list[float] = []

    def writes_meanwhile() -> bool:
        """Asked after every step of the copy: somebody commits before the next one."""
        began = time.monotonic()
        asyncio.run_coroutine_threadsafe(_write(ROWS + len(waited)), loop).result(10)
        waited.append(time.monotonic() - began)
        return len(waited) > 50  # it begins again and again

    async def _write(number: int) -> None:
        await database.write(note(number))

    await asyncio.to_thread(copy, path, tmp_path / "copy", writes_meanwhile)

    assert len(waited) > 3, "the copy was taken in one step"
    assert numbers(path)[: 2 * ROWS] == numbers(tmp_path / "copy")
    assert 2 * (ROWS + len(waited)) == len(numbers(path))
    assert max(waited) < 5.0


async def test_a_copy_that_nobody_waits_for_breaks_off(
    database: Database, path: Path, tmp_path: Path
) -> None:
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked == 2

    with pytest.raises(backup.Stopped):
        copy(path, tmp_path / "copy", stopped)
    assert 2 == asked
    await database.write(note(0))


def test_what_is_not_there_is_not_made(path: Path, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be copied now"):
        copy(path, tmp_path / "copy")
    assert not path.exists()


async def test_a_damaged_source_is_told_with_what_to_do(path: Path, tmp_path: Path) -> None:
    database = Database(path, NOTES)
    for number in range(ROWS):
        await database.write(note(number))
    await database.close()
    content = bytearray(path.read_bytes())
    content[4096 * 2 : 4096 * 4] = b"\xff" * 4096 * 2
    path.write_bytes(content)

    with pytest.raises(Invalid, match=r"is damaged \(.*\)\. Restore the newest backup that verifies"):
        copy(path, tmp_path / "copy")


async def test_a_copy_adds_the_ledger_up(tmp_path: Path, clock: Clock) -> None:
    path = await ledger(tmp_path, clock, page("a.1"), page("b.1"))

    books = Books(requests=2, input=14, output=10, cached=2, reasoning=0, estimated=0)
    assert books == copy(path, tmp_path / "copy").books


# --- auditing


def page(*attempts: str) -> list[UsageRecord]:
    used = Usage(input=7, output=5, cached=1)
    return [
        record
        for attempt in attempts
        for record in (
            Started(attempt=attempt, request=attempt[:-2], at=START, estimate=7, **PLACE),
            Completed(
                attempt=attempt, request=attempt[:-2], at=START, outcome="finished", usage=used, billed=True,
                **PLACE,
            ),
        )
    ]  # fmt: skip


def estimate(attempt: str) -> Settled:
    return Settled(
        id=f"est:{attempt}", attempt=attempt, request=attempt[:-2], at=START, usage=Usage(input=7),
        billed=True, **PLACE,
    )  # fmt: skip


async def ledger(folder: Path, clock: Clock, *pages: list[UsageRecord]) -> Path:
    """A data file with these pages, each counted."""
    path = folder / "data.db"
    database = Database(path, DATA)
    for number, records in enumerate(pages):
        body = msgspec.json.encode(UsageRecorded(producer="p", records=tuple(records)))
        await SqliteUsageLedger(database, clock).append(f"page{number}", body, "p", increments(records))
    await database.close()
    return path


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


async def test_books_that_add_up_are_found_to(tmp_path: Path, clock: Clock) -> None:
    check_books(await ledger(tmp_path, clock, page("a.1"), page("b.1", "c.1"), [estimate("d.1")]))


CHANGES = {
    "a sum too high": "UPDATE sums SET output = output + 1",
    "a sum too many": "INSERT INTO sums SELECT '2020-01-01', tenant, key, model, 1, 1, 1, 1, 1, 1 FROM sums",
    "a sum that is gone": "DELETE FROM sums",
    "a page that is gone": "DELETE FROM pages WHERE id = 'page0'",
}


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES)
async def test_books_that_do_not_add_up_are_told(tmp_path: Path, clock: Clock, statement: str) -> None:
    path = await ledger(tmp_path, clock, page("a.1"), page("b.1"))
    change(path, statement)

    with pytest.raises(Invalid, match=r"The sums of .* are .*, and its pages add up to"):
        check_books(path)


TWICE = {
    "a completion": (page("a.1")[1], "a.1 completed"),
    "a start": (page("a.1")[0], "a.1 started"),
    "an estimate": (estimate("e.1"), "est:e.1 settled"),
}


@pytest.mark.parametrize(("record", "told"), TWICE.values(), ids=TWICE)
async def test_what_is_there_twice_is_told(
    tmp_path: Path, clock: Clock, record: UsageRecord, told: str
) -> None:
    path = await ledger(tmp_path, clock, [*page("a.1"), estimate("e.1")], [record])
    with pytest.raises(Invalid, match=f"says twice: {told}"):
        check_books(path)


async def test_a_page_that_is_there_twice_is_told(tmp_path: Path, clock: Clock) -> None:
    path = await ledger(tmp_path, clock, page("a.1"))
    change(path, "ALTER TABLE pages RENAME TO strict")
    change(path, "CREATE TABLE pages AS SELECT * FROM strict UNION ALL SELECT * FROM strict")

    with pytest.raises(Invalid, match="the page page0 twice"):
        check_books(path)


async def test_a_file_with_other_rows_than_were_copied_is_told(tmp_path: Path, clock: Clock) -> None:
    path = await ledger(tmp_path, clock, page("a.1"))
    contents = copy(path, tmp_path / "copy")
    check_file(tmp_path / "copy", contents)
    change(tmp_path / "copy", "DELETE FROM pages")

    with pytest.raises(Invalid, match="0 rows of pages, and 1 were copied"):
        check_file(tmp_path / "copy", contents)


async def test_a_file_that_is_damaged_is_told(database: Database, path: Path, tmp_path: Path) -> None:
    made = tmp_path / "copy"
    contents = copy(path, made)
    content = bytearray(made.read_bytes())
    content[4096 * 2 : 4096 * 4] = b"\xff" * 4096 * 2
    made.write_bytes(content)

    with pytest.raises(Invalid, match=r"copy (is damaged|cannot be read)"):
        check_file(made, contents)


async def test_looking_into_a_file_leaves_nothing_beside_it(tmp_path: Path, clock: Clock) -> None:
    path = await ledger(tmp_path, clock, page("a.1"))
    contents = copy(path, tmp_path / "copy")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    check_file(tmp_path / "copy", contents)
    check_books(tmp_path / "copy")

    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


async def test_restored_keys_are_read_and_those_erased_are_known(tmp_path: Path) -> None:
    keys = SqliteDataKeys.open(tmp_path / "keys.db")
    await keys.create("acme", b"wrapped")
    await keys.create("gone", b"secret")
    await keys.erase("gone")
    copy(tmp_path / "keys.db", tmp_path / "copy")
    await keys.close()
    snapshot = Snapshot(tmp_path / "copy")

    assert ({"acme": b"wrapped"}, {"gone"}) == (snapshot.wrapped, snapshot.erased)
    assert (b"wrapped", None) == (await snapshot.get("acme"), await snapshot.get("gone"))
    assert b"secret" not in (tmp_path / "copy").read_bytes()
