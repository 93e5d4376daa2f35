"""What is known once all is over: what clients saw, what the engine logged, what was stored and published."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from events.usage import Completed, Settled, Started, UsageRecord
from services.rehearsal.journal import Accepted, Ended, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A synchronous call as its client saw it; an id is "" where it did not arrive.

    `saw_byte` tells of the answer's body, `completion_id` is the name the engine gave the answer. `key`: its
    idempotency key, and `answer` a hash of the answer's bytes, if it came whole.
    """

    request_id: str
    completion_id: str
    saw_byte: bool
    ended: Literal["whole", "error", "cut"]
    streamed: bool = False
    key: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """A queued request that was acknowledged, as its caller read it at the end."""

    request_id: str
    status: str
    completion_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An idempotency key that queues: the requests its callers were told of, and those that were stored."""

    key: str
    told: frozenset[str]
    stored: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a reader of a response in the background was told, over as many connections as it took.

    `told`: the number of each event and a hash of it, in their order. `text` is that of the pieces, `whole`
    that of the last event. `ended`: "whole", or the code of the error that ended it.
    """

    request_id: str
    told: tuple[tuple[int, int], ...]
    text: str
    whole: str
    ended: str
    connections: int = 1

    @property
    def numbers(self) -> list[int]:
        """Of its events."""
        return [number for number, _ in self.told]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A place in the journal of a response: whose events, from number `first` to the one before `next`."""

    request_id: str
    place: int
    attempt: int
    first: int
    next: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """A final event that was published; the same one may have been published again."""

    event_id: str
    request_id: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """A death of the platform, in Unix seconds.

    `in_flight`: calls that may have been at the engine. `held_back_s`: how long no commit had got through.
    """

    at: float
    phase: str
    in_flight: int
    held_back_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """A line of `penstock usage`, without what follows from the rest."""

    day: str
    tenant: str
    key: str
    model: str
    requests: int
    input: int
    output: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How close an estimate must come.

    The engine makes `tokens_per_s` for each attempt; `margin_s` is what a progress record may be late.
    """

    tokens_per_s: float
    progress_every_s: float
    margin_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it. `calls` and `readings` are in the order they ended in; `dead_letters` and `unsettled` (what
    was still to be done) are in words.
    """

    terms: Terms
    engine: tuple[Row, ...] = ()
    records: tuple[UsageRecord, ...] = ()
    sums: tuple[Sum, ...] = ()
    calls: tuple[Call, ...] = ()
    queued: tuple[Queued, ...] = ()
    named: tuple[Named, ...] = ()
    readings: tuple[Reading, ...] = ()
    journal: tuple[Step, ...] = ()
    finals: tuple[Final, ...] = ()
    kills: tuple[Kill, ...] = ()
    dead_letters: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()

    @property
    def accepted(self) -> dict[str, Accepted]:
        """What the engine began, by attempt."""
        return {row.attempt: row for row in self.engine if isinstance(row, Accepted)}

    @property
    def ended(self) -> dict[str, Ended]:
        """What the engine ended, by attempt."""
        return {row.attempt: row for row in self.engine if isinstance(row, Ended)}

    @property
    def completed(self) -> list[Completed]:
        """The ledger's completions."""
        return [record for record in self.records if isinstance(record, Completed)]

    @property
    def settled(self) -> list[Settled]:
        """The ledger's estimates and reversals."""
        return [record for record in self.records if isinstance(record, Settled)]

    @property
    def started(self) -> dict[str, Started]:
        """The ledger's starts, by attempt."""
        return {record.attempt: record for record in self.records if isinstance(record, Started)}

    @property
    def bills(self) -> list[Completed | Settled]:
        """The ledger's bill rows."""
        return [row for row in (*self.completed, *self.settled) if row.billed]

    @property
    def net(self) -> Counter[str]:
        """How many bill rows there are by request, net of reversals."""
        net: Counter[str] = Counter()
        for row in self.bills:
            net[row.request] += -1 if is_reversal(row) else 1
        return net


def is_reversal(row: Completed | Settled) -> bool:
    """Whether a bill row takes an estimate back."""
    return isinstance(row, Settled) and row.id.startswith("rev:")


def request_of(attempt: str) -> str:
    """The request an attempt was made at."""
    return attempt.rpartition(".")[0]


Check = Callable[[Facts], Iterable[str]]
