"""One SQLite file: opened, checked and migrated, written by one thread and read by another."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from events.words import Invalid, Record, Unavailable
from services.adapters.sqlite.writer import Writer, unavailable

T = TypeVar("T")

BUSY_TIMEOUT_S = 5.0
CACHED_STATEMENTS = 256
WAL_KEPT_BYTES = 64 * 1024 * 1024


class Schema(Record):
    """What a file holds: its mark in the header, and the steps that bring an older file up to date.

    A file's version is the number of steps it has seen; a step is a list of statements and, once
    released, never changes.
    """

    application_id: int
    steps: tuple[tuple[str, ...], ...]


class Database:
    """One file in WAL mode, used from one event loop of one process.

    What `write` returned for is on the disk (`synchronous=FULL`). Opening raises `Invalid` where the
    file belongs to another program or to a newer release, `Unavailable` where it cannot be opened.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        try:
            self._writing = _open(path, schema)
            self._reading = _connect(path)
            self._reading.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise _not_opened(path, error) from error
        self._writer = Writer(self._writing, name=f"write {path.name}")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix=f"read {path.name}")
        self._closed = False

    def write(self, job: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Queues a job that changes rows; await the result, which comes after its commit.

        The job runs on another thread inside a transaction, and neither commits nor rolls back.
        Cancelling the wait does not undo it. Raises what the job raises, and `Unavailable`.
        """
        self._check_open()
        return self._writer.write(job)

    async def read(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Runs a job that only reads; it sees all that was committed before, and waits for no writer."""
        self._check_open()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, job, self._reading)
        except sqlite3.Error as error:
            raise unavailable(error) from error

    async def checkpoint(self) -> None:
        """Moves what was committed from the log into the file itself and empties the log.

        Raises `Unavailable` where somebody reads or writes the file all the while.
        """
        await self.read(_checkpoint)

    async def close(self) -> None:
        """Finishes what is queued, empties the log and lets go of the file; may be called again."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._reader, self._let_go)
            self._reader.shutdown()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("The database is closed.")

    def _let_go(self) -> None:
        self._writer.finish()
        self._reading.close()
        # A full disk, or a reader from elsewhere: what was committed stays in the log until next time.
        with suppress(sqlite3.Error, Unavailable):
            _checkpoint(self._writing)
        self._writing.close()


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )


def _open(path: Path, schema: Schema) -> sqlite3.Connection:
    connection = _connect(path)
    try:
        version = _version(connection, path, schema)  # before anything changes: the file may not be ours
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        # Some builds overwrite what is deleted, which doubles what a commit writes. Bodies are sealed;
        # whoever must leave no trace turns it on.
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
        _migrate(connection, schema, version)
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection, path: Path, schema: Schema) -> int:
    """How many of the schema's steps the file has seen; raises `Invalid` where it is not of this schema."""
    mark, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if mark != schema.application_id and (mark or version or tables):
        raise Invalid(f"{path} is the database of some other program; name another file.")
    if version > len(schema.steps):
        raise Invalid(
            f"{path} was written by a newer release of Penstock (its schema is {version}, this release "
            f"knows {len(schema.steps)}). Run the newer release."
        )
    return version


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _migrate(connection: sqlite3.Connection, schema: Schema, version: int) -> None:
    if version == len(schema.steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    for step in schema.steps[version:]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(schema.steps)}")
    connection.execute(f"PRAGMA application_id = {schema.application_id}")
    connection.execute("COMMIT")


def _checkpoint(connection: sqlite3.Connection) -> None:
    (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise Unavailable("The database's log is in use and cannot be emptied now.")


def _not_opened(path: Path, error: sqlite3.Error) -> Invalid | Unavailable:
    if not isinstance(error, sqlite3.OperationalError):
        return Invalid(f"{path} is not a database ({error}); name another file.")
    return Unavailable(f"The database {path} cannot be opened: {error}.")
