"""What the adapters rely on: groups of writes, failing disks, and files of other releases."""

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from events.words import Conflict, Invalid, Unavailable
from services.adapters.sqlite.data_keys import DATA_KEYS
from services.adapters.sqlite.database import Database, Schema
from services.adapters.sqlite.schema import DATA

pytestmark = pytest.mark.anyio

NOTES = Schema(application_id=0x0707, steps=(("CREATE TABLE notes (text TEXT UNIQUE, n INTEGER)",),))
MORE_NOTES = Schema(
    application_id=0x0707, steps=(*NOTES.steps, ("ALTER TABLE notes ADD COLUMN author TEXT DEFAULT 'me'",))
)
BROKEN = Schema(application_id=0x0707, steps=(*NOTES.steps, ("DROP TABLE notes", "CREATE TABLE oh no")))


class Note:
    """A job that writes a note and returns its number."""

    def __init__(self, text: str, number: int = 0) -> None:
        self.row = (text, number)

    def __call__(self, connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO notes (text, n) VALUES (?, ?)", self.row)
        return self.row[1]


def conflict(connection: sqlite3.Connection) -> None:
    Note("half a change")(connection)
    raise Conflict("somebody was first")


def abandon(connection: sqlite3.Connection) -> None:
    """A job after which SQLite itself gives the whole transaction up."""
    connection.execute("INSERT OR ROLLBACK INTO notes (text) SELECT text FROM notes")


def texts(connection: sqlite3.Connection) -> list[str]:
    return [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY rowid")]


class Gate:
    """A job that holds the writer up, so that what is queued meanwhile becomes one group."""

    def __init__(self) -> None:
        self.reached = Event()
        self.opened = Event()

    def __call__(self, connection: sqlite3.Connection) -> None:
        self.reached.set()
        self.opened.wait(5)


async def together(database: Database, *jobs: Callable[[sqlite3.Connection], object]) -> list[object]:
    """What becomes of jobs that share one commit."""
    gate = Gate()
    first = database.write(gate)
    while not gate.reached.is_set():
        await asyncio.sleep(0)
    futures = [database.write(job) for job in jobs]
    gate.opened.set()
    await first
    return await asyncio.gather(*futures, return_exceptions=True)


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """No file of this process can be written beyond `size` bytes: what a full disk does to a commit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = Database(path, NOTES)
    yield database
    await database.close()


async def test_what_was_written_is_read_after_reopening(path: Path) -> None:
    database = Database(path, NOTES)
    assert await database.write(Note("a", 7)) == 7
    assert await database.read(texts) == ["a"]
    await database.close()

    database = Database(path, NOTES)
    assert await database.read(texts) == ["a"]
    await database.close()


async def test_a_commit_is_on_the_disk(database: Database) -> None:
    def modes(connection: sqlite3.Connection) -> tuple[str, int]:
        (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
        return journal, synchronous

    assert await database.write(modes) == ("wal", 2)


async def test_a_job_that_fails_alone_leaves_no_change(database: Database) -> None:
    with pytest.raises(Conflict, match="first"):
        await database.write(conflict)

    assert await database.read(texts) == []
    await database.write(Note("a"))
    assert await database.read(texts) == ["a"]


async def test_a_job_that_fails_in_a_group_disturbs_no_other(database: Database) -> None:
    results = await together(database, Note("a", 1), conflict, Note("b", 2), Note("a", 3), Note("c", 4))

    assert [type(result) for result in results] == [int, Conflict, int, Unavailable, int]
    assert await database.read(texts) == ["a", "b", "c"]


async def test_where_sqlite_gives_up_the_transaction_nobody_of_the_group_is_told_it_was_stored(
    database: Database,
) -> None:
    results = await together(database, Note("a"), abandon, Note("b"))

    assert [type(result) for result in results] == [Unavailable] * 3
    assert await database.read(texts) == []
    assert await together(database, Note("a", 1), Note("b", 2)) == [1, 2]


async def test_two_hundred_writers_each_get_their_own_result(database: Database) -> None:
    jobs = [Note(str(number), number) for number in range(200)]

    assert await asyncio.gather(*(database.write(job) for job in jobs)) == list(range(200))
    assert await database.read(texts) == [str(number) for number in range(200)]


async def test_a_caller_that_leaves_disturbs_neither_its_job_nor_the_others(database: Database) -> None:
    gate = Gate()
    held = database.write(gate)
    leaving = asyncio.ensure_future(database.write(Note("left")))
    staying = database.write(Note("stayed", 5))
    leaving.cancel()
    gate.opened.set()

    assert await staying == 5
    await held
    assert leaving.cancelled()
    assert await database.read(texts) == ["left", "stayed"]


async def test_a_reader_never_waits_for_the_writer(database: Database) -> None:
    await database.write(Note("a"))
    gate = Gate()
    held = database.write(gate)
    while not gate.reached.is_set():
        await asyncio.sleep(0)

    assert await database.read(texts) == ["a"]
    gate.opened.set()
    await held


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(Unavailable, match="readonly"):
        await database.read(Note("a"))


async def test_a_full_file_refuses_and_works_again_once_there_is_space(database: Database) -> None:
    def limit(pages: int) -> None:
        database.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone())

    await database.write(Note("kept"))
    limit(8)
    with pytest.raises(Unavailable, match="full") as caught:
        await database.write(Note("x" * 100_000))
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    in_group = await together(database, Note("small"), Note("y" * 100_000), Note("tiny"))
    assert [type(result) for result in in_group] == [Unavailable] * 3
    await database.write(Note("fits"))

    limit(1_000_000)
    assert await together(database, Note("x" * 100_000, 1), Note("small", 2)) == [1, 2]
    assert await database.read(texts) == ["kept", "fits", "x" * 100_000, "small"]


async def test_a_commit_that_fails_is_told_to_the_whole_group_and_the_writer_lives_on(
    database: Database, path: Path
) -> None:
    await database.write(Note("kept"))
    with files_end_at(path.with_name("notes.db-wal").stat().st_size + 10_000):
        in_group = await together(database, Note("a"), Note("x" * 100_000), conflict)
        with pytest.raises(Unavailable):
            await database.write(Note("y" * 100_000))
        assert await database.read(texts) == ["kept"]

    assert [type(result) for result in in_group] == [Unavailable] * 3
    await database.write(Note("after"))
    assert await database.read(texts) == ["kept", "after"]


async def test_closing_finishes_what_is_queued_and_empties_the_log(path: Path) -> None:
    database = Database(path, NOTES)
    futures = [database.write(Note(str(number), number)) for number in range(300)]
    await database.close()
    await database.close()

    assert await asyncio.gather(*futures) == list(range(300))
    assert [file.name for file in path.parent.iterdir()] == ["notes.db"]
    for refused in (database.write, database.read):
        with pytest.raises(Unavailable, match="closed"):
            await refused(texts)


async def test_a_file_of_a_newer_release_is_refused_and_stays_as_it_is(path: Path) -> None:
    await Database(path, MORE_NOTES).close()
    before = path.read_bytes()

    with pytest.raises(Invalid, match="newer release"):
        Database(path, NOTES)
    assert path.read_bytes() == before


async def test_a_file_of_an_older_release_is_brought_up_to_date(path: Path) -> None:
    database = Database(path, NOTES)
    await database.write(Note("old"))
    await database.close()

    database = Database(path, MORE_NOTES)
    rows = await database.read(lambda connection: connection.execute("SELECT * FROM notes").fetchall())
    await database.close()
    assert rows == [("old", 0, "me")]


async def test_a_step_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    database = Database(path, NOTES)
    await database.write(Note("old"))
    await database.close()

    with pytest.raises(Unavailable, match="cannot be opened"):
        Database(path, BROKEN)
    database = Database(path, NOTES)
    assert await database.read(texts) == ["old"]
    await database.close()


async def test_the_database_of_another_program_is_refused_and_stays_as_it_is(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (n INTEGER)")
    other.close()
    before = path.read_bytes()

    with pytest.raises(Invalid, match="some other program"):
        Database(path, NOTES)
    assert path.read_bytes() == before


async def test_data_and_data_keys_are_not_mixed_up(path: Path) -> None:
    await Database(path, DATA).close()

    with pytest.raises(Invalid, match="some other program"):
        Database(path, DATA_KEYS)


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"models:\n  gemma:\n" * 100)

    with pytest.raises(Invalid, match="not a database"):
        Database(path, NOTES)


async def test_a_folder_that_is_not_there_is_said_so(path: Path) -> None:
    with pytest.raises(Unavailable, match="nowhere"):
        Database(path.parent / "nowhere" / "notes.db", NOTES)


async def test_a_log_that_is_read_from_elsewhere_cannot_be_emptied(database: Database, path: Path) -> None:
    await database.write(Note("a"))
    await database.read(lambda connection: connection.execute("PRAGMA busy_timeout = 10").fetchone())
    elsewhere = sqlite3.connect(path, isolation_level=None)
    elsewhere.execute("BEGIN")
    elsewhere.execute("SELECT * FROM notes").fetchall()

    with pytest.raises(Unavailable, match="in use"):
        await database.checkpoint()
    elsewhere.close()
    await database.checkpoint()
    assert path.with_name("notes.db-wal").stat().st_size == 0
