"""The records of jobs in a SQLite file."""

import sqlite3
from functools import partial

import msgspec

from events.jobs import JobRecord
from events.words import Conflict
from services.adapters.sqlite.database import Database

_GET = "SELECT body, version FROM job_records WHERE job = ?"
_ADD = "INSERT OR IGNORE INTO job_records (body, version, job) VALUES (?, ?, ?)"
_PUT = "UPDATE job_records SET body = ?, version = ? WHERE job = ? AND version = ?"
_ALL = "SELECT body FROM job_records ORDER BY job"


class SqliteJobRuns:
    """One record for each job."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, job: str) -> tuple[JobRecord, int]:
        """A job's record, and its version (0: nothing is stored yet)."""
        return await self._database.read(partial(_get, job))

    async def put(self, record: JobRecord, version: int) -> None:
        """Stores a record if what is stored still has this version; else raises `Conflict`."""
        await self._database.write(partial(_put, record, version))

    async def all(self) -> list[JobRecord]:
        """Every record there is, by job."""
        return await self._database.read(_all)


def _get(job: str, connection: sqlite3.Connection) -> tuple[JobRecord, int]:
    found = connection.execute(_GET, (job,)).fetchone()
    if found is None:
        return JobRecord(job=job), 0
    body, version = found
    return msgspec.json.decode(body, type=JobRecord), version


def _put(record: JobRecord, version: int, connection: sqlite3.Connection) -> None:
    row = (msgspec.json.encode(record), version + 1, record.job)
    if version:
        stored = connection.execute(_PUT, (*row, version)).rowcount
    else:
        stored = connection.execute(_ADD, row).rowcount
    if not stored:
        raise Conflict(f"The record of the job {record.job} has another version than {version}.")


def _all(connection: sqlite3.Connection) -> list[JobRecord]:
    return [msgspec.json.decode(body, type=JobRecord) for (body,) in connection.execute(_ALL)]
