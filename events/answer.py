"""How a queued request is told to its caller: what is read by its id, and what comes on an answers topic."""

from datetime import UTC, datetime
from typing import ClassVar, Literal

import msgspec
from msgspec.structs import replace

from events.envelope import Event
from events.inference import completed_event
from events.requests import Answer, FinalStatus, Owed, RequestDocument, State, owed
from events.words import Lane, Problem, Record

Status = Literal["queued", "in_progress", "completed", "failed", "cancelled", "expired"]
STATUS: dict[State, Status] = {
    "accepted": "queued",
    "routed": "queued",
    "running": "in_progress",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "expired": "expired",
}


class AnswerDue(Event):
    """A queued request ended whose caller asked for its answer on the tenant's answers topic."""

    about: ClassVar[str] = "request_id"

    request_id: str
    tenant: str


class ErrorTold(Record):
    """OpenAI's error object.

    `message`: what is wrong, for people. `type`: its kind. `param`: the part of the request it is about.
    `code`: its name, for programs.
    """

    message: str
    type: str
    param: str | None
    code: str | None


class Response(Record):
    """What the engine answered. `status_code`: with which HTTP status. `body`: OpenAI's own, as it came."""

    status_code: int
    body: msgspec.Raw


class RequestTold(Record):
    """A queued request as its caller reads it."""

    id: str
    object: Literal["request"]
    status: Status
    created_at: int
    expires_at: int
    model: str | None
    lane: Lane
    response: Response | None
    error: ErrorTold | None
    custom_id: str | None = None


class AnswerReady(RequestTold, Event):
    """A queued request ended, and this is all that `GET /v1/requests/{id}` tells of it, the answer in clear.
    It is published only for a request whose caller asked for that, only to its tenant's answers topic, and
    under one id for each request.

    `id`: the request. `object`: always `request`. `status`: how it ended. `created_at`: when it was handed
    in, in seconds since 1970. `expires_at`: until when it can be read by its id, in seconds since 1970.
    `model`: the name the caller used; null where the request was refused at the door. `response`: null where
    there is no answer. `error`: null where nothing is wrong. `custom_id`: what the caller named it.
    `read_at`: only where the answer is too large for a message: the path it is to be read at; `response` is
    null then.
    """

    about: ClassVar[str] = "id"

    status: FinalStatus
    read_at: str | None = None


def told(document: RequestDocument, body: bytes | None) -> RequestTold:
    """What a caller reads; what the engine said of a failed request (`body`, JSON) is its error."""
    failed = document.state == "failed"
    return RequestTold(
        id=document.id,
        object="request",
        status=STATUS[document.state],
        created_at=_seconds(document.created_at),
        expires_at=_seconds(document.expire_at),
        model=document.model or None,
        lane=document.lane,
        response=None if failed else _response(document.answer, body),
        error=_error_in(body) if failed and body else _error(document.problem),
        custom_id=document.custom_id or None,
    )


def ready(document: RequestDocument, body: bytes | None) -> AnswerReady:
    """The same of a request that ended, as the event."""
    return AnswerReady(**msgspec.structs.asdict(told(document, body)))


def ready_elsewhere(document: RequestDocument) -> AnswerReady:
    """The same without what the engine said, and where to read that."""
    return replace(ready(document, None), read_at=f"/v1/requests/{document.id}")


def owed_at_the_end(document: RequestDocument, now: datetime, source: str) -> tuple[Owed, ...]:
    """What a document that ended owes: the event that tells of it and, where that was asked for, the one
    that has its answer published.
    """
    completed = owed(document, completed_event(document), now, source)
    if document.answer_to is None:
        return (completed,)
    due = AnswerDue(request_id=document.id, tenant=document.tenant)
    return (completed, owed(document, due, now, source))


def _seconds(time: datetime) -> int:
    return int(time.astimezone(UTC).timestamp())


def _response(answer: Answer | None, body: bytes | None) -> Response | None:
    if answer is None or body is None:
        return None
    return Response(status_code=answer.status_code, body=msgspec.Raw(body))


def _error_in(body: bytes) -> ErrorTold:
    return msgspec.json.decode(body, type=dict[str, ErrorTold])["error"]


def _error(problem: Problem | None) -> ErrorTold | None:
    if problem is None:
        return None
    return ErrorTold(message=problem.message, type=problem.type, param=problem.param, code=problem.code)
