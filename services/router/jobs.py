"""`/admin/v1/jobs`: what is due when, what became of it, and starting, pausing and resuming by hand."""

from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from events.bus import Publisher
from events.catalog import Job
from events.jobs import JobRecord, JobRun, Missed
from services.jobs import runs
from services.jobs.runs import JobRuns, change
from services.jobs.slots import next_slot
from services.jobs.starts import by_hand, named, start
from services.router.admin import guarded
from services.router.api import answer
from services.router.gate import AdminGate


class JobsApi:
    """The operators' endpoints about jobs; `jobs` are those there are, with the schedules in force."""

    def __init__(
        self,
        gate: AdminGate,
        jobs: Sequence[Job],
        records: JobRuns,
        publisher: Publisher,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._gate = gate
        self._jobs = jobs
        self._records = records
        self._publisher = publisher
        self._now = now

    def routes(self) -> list[BaseRoute]:
        """Where everything is."""
        return guarded(
            self._gate,
            {
                ("GET", "/jobs"): self.list,
                ("POST", "/jobs/{job}/run"): self.run,
                ("POST", "/jobs/{job}/pause"): self.pause,
                ("POST", "/jobs/{job}/resume"): self.resume,
            },
        )

    async def list(self, request: Request) -> Response:
        """All jobs."""
        records = {record.job: record for record in await self._records.all()}
        now = self._now()
        views = [_view(job, records.get(job.name, JobRecord(job=job.name)), now) for job in self._jobs]
        return answer({"data": views})

    async def run(self, request: Request) -> Response:
        """Starts a job now, also a paused one."""
        job, now = self._named(request), self._now()
        await self._publisher.publish([start(job, by_hand(job, now), now)])
        return answer({"name": job.name, "slot": now}, 202)

    async def pause(self, request: Request) -> Response:
        """From now on the job is not run but by hand."""
        return await self._changed(self._named(request), runs.paused)

    async def resume(self, request: Request) -> Response:
        """The job is run again from its next slot on."""
        return await self._changed(self._named(request), runs.resumed)

    def _named(self, request: Request) -> Job:
        return named(unquote(request.path_params["job"]), self._jobs)

    async def _changed(self, job: Job, make: Callable[[JobRecord, datetime], JobRecord]) -> Response:
        now = self._now()

        def decide(record: JobRecord) -> tuple[JobRecord, JobRecord]:
            changed = make(record, now)
            return changed, changed

        return answer(_view(job, await change(self._records, job.name, decide), now))


def _view(job: Job, record: JobRecord, now: datetime) -> dict[str, object]:
    return {
        "name": job.name,
        "purpose": job.purpose,
        "schedule": job.schedule,
        "zone": job.zone,
        "every_s": job.every_s,
        "paused_at": record.paused_at,
        "next_slot": None if record.paused_at else next_slot(job, now),
        "last": _run_view(record.runs[0]) if record.runs else None,
        "runs": [_run_view(run) for run in record.runs],
        "missed": [_gap_view(gap) for gap in record.missed],
    }


def _run_view(run: JobRun) -> dict[str, object]:
    took = None if run.ended_at is None else run.ended_at - run.started_at
    return {
        "slot": run.slot,
        "by_hand": run.by_hand,
        "outcome": run.outcome,
        "started_at": run.started_at,
        "duration_s": None if took is None else round(took.total_seconds(), 3),
        "problem": run.problem or None,
    }


def _gap_view(gap: Missed) -> dict[str, object]:
    return {"after": gap.after, "last": gap.last}
