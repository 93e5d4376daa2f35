"""From what a caller handed in to the document the store keeps; router and function share it."""

import re
from datetime import datetime, timedelta

from events.config import Config
from events.requests import LARGEST_BODY, Answer, AnswerTo, RequestDocument
from events.words import Problem, Record, Refusal
from functions.request.admission import Admitted
from functions.request.endpoints import ENDPOINTS
from functions.request.lifecycle import finish
from functions.request.submission import Options, Submission, read_submission

TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context


class Terms(Record):
    """Settings of the queue: how long a request may wait unless it says so, how long results live, and how
    large a body may be (`body_bytes`, in clear).
    """

    deadline_s: int = 86_400
    keep_s: int = 86_400
    body_bytes: int = LARGEST_BODY


class Taken(Record):
    """A submission that may be queued."""

    submission: Submission
    admitted: Admitted


def take(body: bytes, options: Options, *, config: Config, now: datetime, terms: Terms) -> Taken | Refusal:
    """The verdict on a body handed in to be queued."""
    if len(body) > terms.body_bytes:
        return too_large(len(body), terms.body_bytes)
    submission = read_submission(body, options, now=now, default_deadline_s=terms.deadline_s)
    if isinstance(submission, Refusal):
        return submission
    admitted = ENDPOINTS[submission.url].admit(submission.body, config)
    if isinstance(admitted, Refusal):
        return admitted
    if admitted.stream:
        problem = Problem(
            message="A queued request cannot stream: leave stream out, and read the answer when it is ready.",
            param="stream",
            code="stream_not_supported",
        )
        return Refusal(status=400, problem=problem)
    return Taken(submission=submission, admitted=admitted)


def too_large(size: int, limit: int) -> Refusal:
    """The refusal of a body that no store would keep."""
    problem = Problem(
        message=f"The body has {size} bytes, and one that is queued may have {limit} at most. Send less, "
        "or ask the endpoint itself.",
        code="request_too_large",
    )
    return Refusal(status=413, problem=problem)


def accepted(
    taken: Taken,
    *,
    request_id: str,
    tenant: str,
    key_id: str,
    now: datetime,
    terms: Terms,
    traceparent: str = "",
) -> RequestDocument:
    """The document of a request that was taken; its prompt is to be sealed under `body_id` first."""
    asked = taken.submission
    return RequestDocument(
        id=request_id,
        tenant=tenant,
        key_id=key_id,
        url=asked.url,
        model=taken.admitted.model,
        lane=asked.lane,
        state="accepted",
        created_at=now,
        deadline_at=asked.deadline_at,
        expire_at=asked.deadline_at + timedelta(seconds=terms.keep_s),
        body_id=f"{request_id}-prompt",
        custom_id=asked.custom_id,
        answer_to=asked.answer_to,
        traceparent=trace_of(traceparent),
        needs=taken.admitted.needs,
    )


def refused(
    refusal: Refusal,
    *,
    request_id: str,
    tenant: str,
    key_id: str,
    body_id: str,
    now: datetime,
    terms: Terms,
    source: str,
    traceparent: str = "",
    answer_to: AnswerTo | None = None,
) -> RequestDocument:
    """The document of a published request that cannot be run: it failed before it was stored, so it
    has no prompt. Why, its publisher can read from the answer, which is to be sealed under `body_id` first.
    """
    at_the_door = RequestDocument(
        id=request_id,
        tenant=tenant,
        key_id=key_id,
        url="",
        model="",
        lane="interactive",
        state="accepted",
        created_at=now,
        deadline_at=now,
        expire_at=now,
        body_id="",
        traceparent=trace_of(traceparent),
        answer_to=answer_to,
    )
    problem = Problem(
        message=f"The request was refused with status {refusal.status}.", code=refusal.problem.code
    )
    answer = Answer(status_code=refusal.status, body_id=body_id)
    return finish(
        at_the_door, "failed", now=now, keep_s=terms.keep_s, source=source, answer=answer, problem=problem
    )


def trace_of(text: str) -> str:
    """A traceparent as it was handed in; "" where it is none, because it is stored and passed on."""
    return text if TRACEPARENT.fullmatch(text) else ""
