"""What a schedule says when it starts something, and what is kept of the runs."""

from datetime import datetime
from typing import ClassVar, Literal

from events.envelope import Event
from events.words import Record

Outcome = Literal["running", "finished", "failed"]


class JobDue(Event):
    """A job's time has come, or somebody started it by hand.

    `slot`: the scheduled time it stands for; by hand, the time it was started. `previous`: the slot before
    that one; null by hand. `until`: from then on it is not run any more, as a rule because the next slot is
    due; null by hand, when it is always run.
    """

    about: ClassVar[str] = "job"

    job: str
    slot: datetime
    previous: datetime | None = None
    until: datetime | None = None


class JobRun(Record):
    """One run. `event`: the id of the start that runs it: if its message comes again, it may run again.
    `problem`: why it failed.
    """

    event: str
    slot: datetime
    started_at: datetime
    by_hand: bool = False
    ended_at: datetime | None = None
    problem: str = ""

    @property
    def outcome(self) -> Outcome:
        """What became of it; a run that a crash broke off stays `running` until it runs again."""
        if self.ended_at is None:
            return "running"
        return "failed" if self.problem else "finished"


class Missed(Record):
    """The slots behind `after` up to `last` that nobody ran."""

    after: datetime
    last: datetime


class JobRecord(Record):
    """What is kept of a job: its latest runs and the slots it missed, the newest first.

    `paused_at`: since when it is not to run but by hand. `resumed_at`: when that ended the last time.
    """

    job: str
    paused_at: datetime | None = None
    resumed_at: datetime | None = None
    runs: tuple[JobRun, ...] = ()
    missed: tuple[Missed, ...] = ()
