"""The records of jobs in Firestore."""

import msgspec

from events.jobs import JobRecord
from events.words import Conflict
from services.adapters.firestore.database import Database, Moved
from services.adapters.firestore.documents import Fields, Query, Stored, document_id, new_mark, replace
from services.adapters.firestore.indexes import JOB_RECORDS

SCHEMA = 1


class FirestoreJobRuns:
    """One document for each job, written a few times a minute at most."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, job: str) -> tuple[JobRecord, int]:
        """A job's record, and its version (0: nothing is stored yet)."""
        stored = await self._database.get(_path(job))
        return (JobRecord(job=job), 0) if stored is None else (_record(stored), stored.version)

    async def put(self, record: JobRecord, version: int) -> None:
        """Stores a record if what is stored still has this version; else raises `Conflict`.

        So it does where the write took place unheard: whoever reads again finds what it wrote.
        """
        fields: Fields = {"mark": new_mark(), "schema": SCHEMA, "body": msgspec.json.encode(record)}
        try:
            await self._database.commit([replace(_path(record.job), fields, version)])
        except Moved as moved:
            raise Conflict(f"The record of the job {record.job} was changed by somebody else.") from moved

    async def all(self) -> list[JobRecord]:
        """Every record there is, by job."""
        found = await self._database.find(Query(collection=JOB_RECORDS))
        return sorted(map(_record, found), key=lambda record: record.job)


def _path(job: str) -> str:
    return f"{JOB_RECORDS}/{document_id(job)}"


def _record(stored: Stored) -> JobRecord:
    body = stored.fields["body"]
    assert isinstance(body, bytes)
    return msgspec.json.decode(body, type=JobRecord)
