"""What is said about tokens: records of attempts, many to a page."""

from datetime import datetime
from typing import ClassVar, Literal

from events.envelope import Event
from events.words import Record, Usage

Outcome = Literal[
    "finished",       # the engine gave a whole answer
    "client_gone",    # the caller left; the engine was told to stop
    "cancelled",      # the caller cancelled a queued request
    "engine_error",   # the engine answered with an error
    "engine_died",    # the engine broke off
    "deadline",       # one of our deadlines passed
    "superseded",     # a queued attempt lost its claim; another one answers
    "shutdown",       # this process had to stop
]  # fmt: skip


class Started(Record, tag="started", tag_field="kind"):
    """An attempt began. `estimate` is what its prompt would cost if nothing more is ever heard.

    `queued` attempts answer nobody directly: should one be lost, the request is run again, and only
    the attempt that gave the answer is billed.
    """

    attempt: str
    request: str
    tenant: str
    key: str
    model: str
    backend: str
    at: datetime
    estimate: int
    queued: bool = False


class Progress(Record, tag="progress", tag_field="kind"):
    """An attempt is alive; `usage` is what it has produced so far, estimated where the engine counts late."""

    attempt: str
    at: datetime
    usage: Usage


class Completed(Record, tag="completed", tag_field="kind"):
    """An attempt ended. Where `billed`, it is also the bill row of its request.

    `estimated` names what was not counted by the engine: "input", "output" or "usage" (both).
    """

    attempt: str
    request: str
    tenant: str
    key: str
    model: str
    backend: str
    at: datetime
    outcome: Outcome
    usage: Usage
    billed: bool
    estimated: Literal["input", "output", "usage"] | None = None
    duration_ms: int = 0
    first_byte_ms: int | None = None


class Settled(Record, tag="settled", tag_field="kind"):
    """A bill row written by the sweep: `est:<attempt>` for an attempt that fell silent,
    `rev:<attempt>` (the estimate negated) when its completion arrived after all.
    """

    id: str
    attempt: str
    request: str
    tenant: str
    key: str
    model: str
    backend: str
    at: datetime
    usage: Usage
    billed: bool
    source: Literal["agent", "progress", "input"] = "input"


UsageRecord = Started | Progress | Completed | Settled


class UsageRecorded(Event):
    """A page of usage records of one producer (a process that makes attempts); at most 500 records."""

    about: ClassVar[str] = "producer"

    producer: str
    records: tuple[UsageRecord, ...]
