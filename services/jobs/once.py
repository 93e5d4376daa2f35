"""Between a job's message and its handler: one of its starts runs, and what becomes of it is recorded."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TypeAlias, TypeVar

from events.backup import BackupFailed
from events.envelope import Envelope
from events.jobs import JobDue, JobRecord
from events.words import PenstockError
from services.jobs.runs import JobRuns, Verdict, change, ended, judge
from services.jobs.starts import JOB_DUE

LONGEST_PROBLEM = 300

T = TypeVar("T")
Handle: TypeAlias = Callable[[Envelope], Awaitable[Sequence[T]]]

log = logging.getLogger("penstock.jobs")


class RunOnce:
    """Guards handlers; events that start no job pass."""

    def __init__(self, runs: JobRuns, now: Callable[[], datetime]) -> None:
        self._runs = runs
        self._now = now

    def guard(self, handle: Handle[T]) -> Handle[T]:
        """A handler that runs each slot of a job once, and returns nothing for all other starts.

        The run is recorded before and after. What the handler raises is raised, so that the message comes
        again; so is `Unavailable` where the record cannot be read or written. A handler that says that it
        failed has failed, and its message does not come again.
        """

        async def guarded(envelope: Envelope) -> Sequence[T]:
            if envelope.type != JOB_DUE:
                return await handle(envelope)
            return await self._start(envelope, handle)

        return guarded

    async def _start(self, envelope: Envelope, handle: Handle[T]) -> Sequence[T]:
        due = envelope.event
        assert isinstance(due, JobDue)
        verdict = await self._judge(due, envelope.id)
        if verdict.what != "run":
            log.info("%s is not started for %s: %s", due.job, due.slot, verdict.what)
            return []
        try:
            events = await handle(envelope)
        except Exception as error:
            with suppress(PenstockError):  # the one to be told is the other
                await self._end(due.job, envelope.id, _problem(error))
            raise
        await self._end(due.job, envelope.id, _told_in(events))
        return events

    async def _judge(self, due: JobDue, event: str) -> Verdict:
        def decide(record: JobRecord) -> tuple[JobRecord, Verdict]:
            verdict = judge(record, due, event, self._now())
            return verdict.record, verdict

        return await change(self._runs, due.job, decide)

    async def _end(self, job: str, event: str, problem: str = "") -> None:
        await change(self._runs, job, lambda record: (ended(record, event, self._now(), problem), None))


def _told_in(events: Sequence[object]) -> str:
    """Why a run failed, where it says so by an event; "" where it did not."""
    failed = next((event for event in events if isinstance(event, BackupFailed)), None)
    return "" if failed is None else failed.reason[:LONGEST_PROBLEM] or "It says no reason."


def _problem(error: Exception) -> str:
    """Our errors are sentences; what others say may hold anything, and is in the log."""
    told = str(error) if isinstance(error, PenstockError) else f"{type(error).__name__}, see the log."
    return told[:LONGEST_PROBLEM] or type(error).__name__
