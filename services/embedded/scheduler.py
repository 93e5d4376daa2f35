"""Starts the catalogue's jobs by a plain timer, through their topics."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from events.bus import Publisher, message_of
from events.catalog import Job
from events.envelope import wrap
from events.jobs import JobDue
from events.words import Invalid, PenstockError, hashed_id

SOURCE = "/scheduler"

log = logging.getLogger("penstock.scheduler")


class Scheduler:
    """Publishes a `JobDue` for every slot of every job while the process runs."""

    def __init__(
        self,
        publisher: Publisher,
        jobs: Iterable[Job],
        *,
        now: Callable[[], datetime],
        every_s: float | None = None,
    ) -> None:
        self._publisher = publisher
        self._jobs = {job.name: job for job in jobs}
        self._now = now
        self._every_s = every_s  # for all jobs, instead of their own

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(*(self._repeat(job) for job in self._jobs.values()))

    async def _repeat(self, job: Job) -> None:
        every_s = self._every_s or job.every_s
        while True:
            await asyncio.sleep(every_s - self._now().timestamp() % every_s)
            slot = round(self._now().timestamp() / every_s) * every_s
            try:
                await self._start(job, datetime.fromtimestamp(slot, UTC))
            except PenstockError as error:
                log.warning("the job %s could not be started: %s", job.name, error)

    async def start(self, name: str) -> None:
        """Starts a job now. Raises `Invalid` where there is no such job."""
        job = self._jobs.get(name)
        if job is None:
            raise Invalid(f"There is no job {name!r}. Jobs: {', '.join(sorted(self._jobs))}.")
        await self._start(job, self._now())

    async def _start(self, job: Job, slot: datetime) -> None:
        event = JobDue(job=job.name, slot=slot)
        event_id = hashed_id((job.name, slot.isoformat()))
        envelope = wrap(event, id=event_id, source=SOURCE, time=self._now())
        await self._publisher.publish([message_of(envelope, job.topic)])
