"""Copies of a SQLite file taken while it is written to, each of one moment."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from events.words import Invalid, Unavailable
from functions.backup.manifest import Books, Contents

PAGES_AT_ONCE = 512  # 2 MiB: after as many it is asked whether to stop

_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
_BOOKS = """
    SELECT coalesce(sum(requests), 0), coalesce(sum(input), 0), coalesce(sum(output), 0),
        coalesce(sum(cached), 0), coalesce(sum(reasoning), 0), coalesce(sum(estimated), 0)
    FROM sums
"""


class Stopped(Unavailable):
    """Nobody waits for the copy any more."""


def copy(source: Path, target: Path, stopped: Callable[[], bool] = lambda: False) -> Contents:
    """Copies a database into a new file, and says what is in the copy.

    It shows one moment: what was committed before, and nothing of what comes later. Writers do not wait
    for it; their log only grows until it is done. Blocks the thread. Raises `Invalid` where the copy is
    damaged, so the source is; `Unavailable` where it cannot be read or the copy cannot be written.
    """
    with _mapped(source), closing(_open(source)) as reading, closing(_create(target)) as writing:
        # A copy taken in steps begins again when somebody writes, unless its reader stays at one moment.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        reading.backup(writing, pages=PAGES_AT_ONCE, progress=_stop_if(stopped))
        reading.execute("ROLLBACK")
        return _contents(writing, source)


def _open(source: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)


def _create(target: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(target, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")  # a copy that breaks off is thrown away
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def _stop_if(stopped: Callable[[], bool]) -> Callable[[int, int, int], None]:
    def progress(status: int, remaining: int, total: int) -> None:
        if stopped():
            raise Stopped("The backup was stopped.")

    return progress


def _contents(connection: sqlite3.Connection, source: Path) -> Contents:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise Invalid(f"{source} is damaged ({in_line(verdict)}). Restore the newest backup that verifies.")
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    tables = [name for (name,) in connection.execute(_TABLES).fetchall()]
    rows = {name: _rows(connection, name) for name in tables}
    return Contents(schema=schema, rows=rows, books=_books(connection) if "sums" in rows else None)


def in_line(verdict: str) -> str:
    """What a check of SQLite found, which may take several lines."""
    return " ".join(verdict.split())


def _rows(connection: sqlite3.Connection, table: str) -> int:
    (rows,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608  (our own name)
    return int(rows)


def _books(connection: sqlite3.Connection) -> Books:
    requests, input_, output, cached, reasoning, estimated = connection.execute(_BOOKS).fetchone()
    return Books(
        requests=requests,
        input=input_,
        output=output,
        cached=cached,
        reasoning=reasoning,
        estimated=estimated,
    )


@contextmanager
def _mapped(source: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise Unavailable(f"{source} cannot be copied now: {error}.") from error
        raise Invalid(f"{source} is damaged ({error}). Restore the newest backup that verifies.") from error
