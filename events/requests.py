"""The request document: what the store keeps of one queued request, read by every room."""

from datetime import datetime
from typing import Literal

from events.bus import message_of
from events.config import Needs
from events.envelope import Event, type_of, wrap
from events.words import Lane, Problem, Record, hashed_id

State = Literal["accepted", "routed", "running", "completed", "failed", "cancelled", "expired"]
FinalStatus = Literal["completed", "failed", "cancelled", "expired"]
AnswerTo = Literal["topic"]

WAITING: frozenset[State] = frozenset({"accepted", "routed"})
FINAL: frozenset[State] = frozenset({"completed", "failed", "cancelled", "expired"})

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
LARGEST_BODY = 7_000_000  # bytes in clear of a queued prompt or its answer; what every store can keep


class Owed(Record):
    """An event the document owes the bus: its message, published by whoever finds it still here."""

    topic: str
    attributes: dict[str, str]
    data: bytes


class Claim(Record):
    """Who runs the request now, and until when nobody else may."""

    owner: str
    lease_until: datetime


class Answer(Record):
    """What the caller gets: the engine's HTTP status and where its sealed body lies."""

    status_code: int
    body_id: str


class RequestDocument(Record):
    """One queued request. Every write is conditional on the version read; that chain is the fence.

    Times are aware. `deadline_at`: not answered by then, it expires, and an attempt that still runs is
    cut. `expire_at`: forgotten after. `attempts` counts the calls made to backends, `failures` those that
    failed. The sealed prompt lies in the body store under `body_id`, sealed with kind "prompt"; an answer
    with kind "answer". `model` is as the caller named it until it is routed, then the one that answers.
    `needs` decide where it can go. `problem` is in our words only; what quotes the caller or the engine is
    an answer. `answer_to`: where else the answer goes, on demand: to the tenant's answers topic. `streamed`:
    what is said of it is journalled as it comes (`events/journal.py`).
    """

    id: str
    tenant: str
    key_id: str
    url: str
    model: str
    lane: Lane
    state: State
    created_at: datetime
    deadline_at: datetime
    expire_at: datetime
    body_id: str
    backend: str | None = None
    attempts: int = 0
    failures: int = 0
    claim: Claim | None = None
    not_before: datetime | None = None
    answer: Answer | None = None
    problem: Problem | None = None
    custom_id: str | None = None
    answer_to: AnswerTo | None = None
    traceparent: str = ""
    owed: tuple[Owed, ...] = ()
    needs: Needs = Needs()
    streamed: bool = False
    schema: int = 1


class Versioned(Record):
    """A document and the version it was read at."""

    document: RequestDocument
    version: int


def owed(document: RequestDocument, event: Event, now: datetime, source: str, topic: str = "") -> Owed:
    """An event as the document owes it, on its own topic unless another is named; its id follows from
    request, attempt and type.
    """
    event_id = hashed_id((document.id, str(document.attempts), type_of(type(event))))
    envelope = wrap(event, id=event_id, source=source, time=now, traceparent=document.traceparent)
    message = message_of(envelope, topic)
    return Owed(topic=message.topic, attributes=message.attributes, data=message.data)
