"""What is said about one queued request, from its acceptance to its end."""

from datetime import datetime
from typing import ClassVar

from events.envelope import Event
from events.requests import FinalStatus, RequestDocument
from events.words import Lane


class InferenceRequested(Event):
    """A request was accepted from an ingest topic and stored; nothing has been routed yet."""

    about: ClassVar[str] = "request_id"

    request_id: str
    tenant: str
    model: str
    lane: Lane


class InferenceRouted(Event):
    """A request has a model and a backend and waits for a slot: the dispatchers' doorbell.

    `deadline_at`: not answered by then, it expires, and an attempt that still runs is cut.
    """

    about: ClassVar[str] = "request_id"

    request_id: str
    tenant: str
    model: str
    backend: str
    lane: Lane
    deadline_at: datetime


class InferenceCompleted(Event):
    """A queued request ended, well or not; it is said under one id only for each request.

    `status`: how it ended. `attempts`: the calls that were made to backends. `status_code`: the HTTP
    status of the answer, where there is one. `body_id`: where its sealed body lies.
    """

    about: ClassVar[str] = "request_id"

    request_id: str
    tenant: str
    status: FinalStatus
    attempts: int
    model: str
    status_code: int | None = None
    body_id: str | None = None


def completed_event(document: RequestDocument) -> InferenceCompleted:
    """What is said of a request that ended, by its document."""
    status: FinalStatus = document.state  # type: ignore[assignment]
    return InferenceCompleted(
        request_id=document.id,
        tenant=document.tenant,
        status=status,
        attempts=document.attempts,
        model=document.model,
        status_code=document.answer.status_code if document.answer else None,
        body_id=document.answer.body_id if document.answer else None,
    )
