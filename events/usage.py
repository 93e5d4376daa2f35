"""What is said about tokens: records of attempts, many to a page."""

from datetime import datetime
from typing import ClassVar, Literal

from events.envelope import Event
from events.words import Record, Usage

Outcome = Literal[
    "finished",       # the engine gave a whole answer
    "client_gone",    # the caller left; the engine was told to stop
    "cancelled",      # the caller cancelled a queued request
    "blocked",        # the guard ended it
    "engine_error",   # the engine answered with an error
    "engine_died",    # the engine broke off
    "deadline",       # one of our deadlines passed
    "superseded",     # a queued attempt lost its claim; another one answers
    "shutdown",       # this process had to stop
]  # fmt: skip


class Started(Record, tag="started", tag_field="kind"):
    """An attempt began.

    `estimate`: the input tokens it costs if nothing more is ever heard. `queued`: it answers nobody
    directly, or somebody with an idempotency key; should it be lost, the request is run again, and only
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
    """An attempt is alive.

    `usage`: what it has used so far, estimated where the engine counts late.
    """

    attempt: str
    at: datetime
    usage: Usage


class Completed(Record, tag="completed", tag_field="kind"):
    """An attempt ended.

    `outcome`: how it ended. `billed`: whether it is also the bill row of its request. `estimated`: what
    was not counted by the engine, where "usage" is both. `hit`: the answer came from the cache, from this
    tier of it; nobody asked the engine, so it never started, its `input` is all `cached`, and there is no
    `output`. `duration_ms`: from its start to its end.
    `first_byte_ms`: from its start to the first byte of the answer, where one came.
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
    hit: Literal["memory", "shared"] | None = None


class Settled(Record, tag="settled", tag_field="kind"):
    """A bill row written by the sweep: `est:<attempt>` for an attempt that fell silent,
    `rev:<attempt>` (the estimate negated) when its completion arrived after all.

    `id`: `est:<attempt>` or `rev:<attempt>`. `billed`: whether it counts; a queued attempt that was
    lost does not. `source`: what the estimate was made from: the agent's own count, the last progress,
    or the input.
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
    """A page of usage records of one producer.

    `producer`: the process that made the attempts. `records`: at most 500; each belongs to one page
    for ever.
    """

    about: ClassVar[str] = "producer"

    producer: str
    records: tuple[UsageRecord, ...]
