"""Starts jobs when they are due, through their topics: what Cloud Scheduler does in the cloud."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from events.bus import Message, Publisher
from events.catalog import Job
from events.jobs import JobRecord
from events.words import PenstockError
from services.jobs.runs import JobRuns
from services.jobs.slots import latest_slot, next_slot, steadily
from services.jobs.starts import due, start

PAUSE_S = 1.0
# The clock that sleeps are measured by stands still while a machine sleeps: look at the other one between.
NAP_S = 30.0

Wanted = Callable[[JobRecord, datetime], bool]

log = logging.getLogger("penstock.scheduler")


class Scheduler:
    """Publishes a `JobDue` at every slot of every job while the process runs.

    With `runs` it makes up for the latest slot that nobody ran while it was away, and leaves out what is
    paused. There may be several: of their starts for one slot, one runs. `every_s`: for all jobs, instead
    of their schedules.
    """

    def __init__(
        self,
        publisher: Publisher,
        jobs: Iterable[Job],
        *,
        now: Callable[[], datetime],
        runs: JobRuns | None = None,
        every_s: float | None = None,
        nap_s: float = NAP_S,
    ) -> None:
        self._publisher = publisher
        self.jobs = tuple(jobs) if every_s is None else tuple(steadily(job, every_s) for job in jobs)
        self._now = now
        self._runs = runs
        self._nap_s = nap_s

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(*(self._repeat(job) for job in self.jobs))

    async def _repeat(self, job: Job) -> None:
        said = latest_slot(job, self._now())
        await self._say(job, said, wanted=_was_missed)
        while True:
            await asyncio.sleep(min(self._left_s(next_slot(job, self._now())), self._nap_s))
            slot = latest_slot(job, self._now())
            if slot != said:
                said = slot
                await self._say(job, slot, wanted=_is_wanted)

    def _left_s(self, time: datetime) -> float:
        return (time - self._now()).total_seconds()

    async def _say(self, job: Job, slot: datetime, wanted: Wanted) -> None:
        """Starts the job for a slot; where that fails again and again, while the start is of use."""
        event = due(job, slot)
        message = start(job, event, self._now())
        while event.until is not None and (left_s := self._left_s(event.until)) > 0:
            try:
                return await self._say_if(wanted, job, slot, message)
            except PenstockError as error:
                log.warning("the job %s could not be started: %s", job.name, error)
            await asyncio.sleep(min(left_s, PAUSE_S))
        return None

    async def _say_if(self, wanted: Wanted, job: Job, slot: datetime, message: Message) -> None:
        record = JobRecord(job=job.name) if self._runs is None else (await self._runs.get(job.name))[0]
        if wanted(record, slot):
            await self._publisher.publish([message])


def _is_wanted(record: JobRecord, slot: datetime) -> bool:
    return record.paused_at is None


def _was_missed(record: JobRecord, slot: datetime) -> bool:
    """A job that never ran has missed nothing; what ran by hand since the slot made up for it."""
    return _is_wanted(record, slot) and bool(record.runs) and max(run.slot for run in record.runs) < slot
