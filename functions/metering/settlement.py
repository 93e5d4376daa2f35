"""Folds a producer's pages into what is still open, and settles attempts that fell silent.

The fold holds in any order of arrival: a completion before its start leaves a mark that the start
finds; a completion after its estimate takes the estimate back.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

from msgspec.structs import replace

from events.usage import Completed, Progress, Settled, Started, UsageRecord, UsageRecorded
from events.words import Record, Usage

MARKS_KEPT = timedelta(days=31)  # longer than any topic keeps a page


class Open(Record):
    """An attempt that began and has not ended. `seen_at` is when its last page was stored."""

    started: Started
    seen_at: datetime
    progress: Usage | None = None


class Standing(Record):
    """All that must be remembered of one producer between two sweeps.

    `early`: completions whose start has not arrived. `estimated`: estimates whose completion has not.
    """

    producer: str
    open: dict[str, Open] = {}
    early: dict[str, datetime] = {}
    estimated: dict[str, Settled] = {}
    schema: int = 1

    @property
    def idle(self) -> bool:
        """Whether nothing needs remembering."""
        return not (self.open or self.early or self.estimated)


class StoredPage(Record):
    """A page as the ledger keeps it; `stored_at` is the store's own clock."""

    id: str
    stored_at: datetime
    page: UsageRecorded


class Fold:
    """A standing being brought up to date; `rows` collects the bill rows that follow."""

    def __init__(self, standing: Standing) -> None:
        self.producer = standing.producer
        self.open = dict(standing.open)
        self.early = dict(standing.early)
        self.estimated = dict(standing.estimated)
        self.rows: list[Settled] = []

    def add(self, stored: StoredPage) -> None:
        """Takes in one page."""
        for record in stored.page.records:
            self._take(record, stored.stored_at)

    def _take(self, record: UsageRecord, seen_at: datetime) -> None:
        match record:
            case Started():
                if self.early.pop(record.attempt, None) is None and record.attempt not in self.estimated:
                    self.open[record.attempt] = Open(started=record, seen_at=seen_at)
            case Progress():
                known = self.open.get(record.attempt)
                if known is not None:
                    self.open[record.attempt] = replace(known, progress=record.usage, seen_at=seen_at)
            case Completed():
                self._complete(record, seen_at)
            case Settled():
                pass  # our own

    def _complete(self, record: Completed, seen_at: datetime) -> None:
        if record.hit is not None or self.open.pop(record.attempt, None) is not None:
            return  # an answer from the cache never started
        estimate = self.estimated.pop(record.attempt, None)
        if estimate is None:
            self.early[record.attempt] = seen_at
        else:
            self.rows.append(replace(estimate, id=f"rev:{record.attempt}", usage=-estimate.usage))

    def settle(self, now: datetime, silent_after: timedelta, counts: Mapping[str, Usage]) -> None:
        """Estimates every attempt silent for longer than `silent_after`; drops marks nobody needs.

        `counts` holds what agents counted themselves, by attempt.
        """
        for attempt, known in list(self.open.items()):
            if now - known.seen_at > silent_after:
                del self.open[attempt]
                row = estimate(known, now, counts.get(attempt))
                self.estimated[attempt] = row
                self.rows.append(row)
        oldest = now - MARKS_KEPT
        self.early = {attempt: at for attempt, at in self.early.items() if at > oldest}
        self.estimated = {attempt: row for attempt, row in self.estimated.items() if row.at > oldest}

    def standing(self) -> Standing:
        """What to remember."""
        return Standing(producer=self.producer, open=self.open, early=self.early, estimated=self.estimated)


def estimate(known: Open, now: datetime, counted: Usage | None) -> Settled:
    """The bill row of an attempt that fell silent: the agent's count, else the last progress, else its input.

    A queued attempt that was lost gave nobody an answer: it is written down, but not billed.
    """
    started = known.started
    source: Literal["agent", "progress", "input"] = "agent"
    usage = counted
    if usage is None and known.progress is not None:
        source, usage = "progress", known.progress
    if usage is None:
        source, usage = "input", Usage(input=started.estimate)
    return Settled(
        id=f"est:{started.attempt}",
        attempt=started.attempt,
        request=started.request,
        tenant=started.tenant,
        key=started.key,
        model=started.model,
        backend=started.backend,
        at=now,
        usage=usage,
        billed=not started.queued,
        source=source,
    )
