"""The records of jobs in memory."""

from events.jobs import JobRecord
from events.words import Conflict


class MemoryJobRuns:
    """One record for each job."""

    def __init__(self) -> None:
        self._records: dict[str, tuple[JobRecord, int]] = {}

    async def get(self, job: str) -> tuple[JobRecord, int]:
        """A job's record, and its version (0: nothing is stored yet)."""
        return self._records.get(job, (JobRecord(job=job), 0))

    async def put(self, record: JobRecord, version: int) -> None:
        """Stores a record if what is stored still has this version; else raises `Conflict`."""
        _, current = self._records.get(record.job, (record, 0))
        if current != version:
            raise Conflict(f"The record of the job {record.job} has version {current}, not {version}.")
        self._records[record.job] = (record, version + 1)

    async def all(self) -> list[JobRecord]:
        """Every record there is, by job."""
        return [self._records[job][0] for job in sorted(self._records)]
