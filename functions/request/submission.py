"""What a caller hands in to be queued: a flat body or an envelope, and its options."""

from datetime import datetime, timedelta
from typing import get_args

import msgspec

from events.envelope import parse_time
from events.requests import CHAT, AnswerTo
from events.words import Invalid, Lane, Problem, Record, Refusal
from functions.request.endpoints import ENDPOINTS
from functions.request.mistakes import UNREADABLE, clipped, problem_of, quoted

LANES = get_args(Lane)
TOPIC: AnswerTo = "topic"
MAX_CUSTOM_ID = 64


class Options(Record):
    """What may be asked for beside the body. `deadline` is seconds from now, or an RFC 3339 time.
    `answer`: "topic" has the answer published to the tenant's answers topic, too.
    """

    lane: str = "interactive"
    deadline: str | int | float | None = None
    custom_id: str | None = None
    answer: str | None = None


class Submission(Record):
    """A body to run at `url`, with its options judged."""

    url: str
    body: bytes
    lane: Lane
    deadline_at: datetime
    custom_id: str | None = None
    answer_to: AnswerTo | None = None


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body to run at `url`, with its options, as a line of OpenAI's batches has them."""

    url: str
    body: msgspec.Raw
    method: str = "POST"
    lane: str | None = None
    deadline: str | int | float | None = None
    custom_id: str | None = None
    answer: str | None = None


class _Shape(msgspec.Struct, frozen=True):
    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    messages: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Asked(msgspec.Struct, frozen=True):
    answer: str | None = None


def read_submission(
    body: bytes, options: Options, *, now: datetime, default_deadline_s: int
) -> Submission | Refusal:
    """Reads a flat chat completion, or an envelope `{"url", "body", ...}` whose own options
    win over `options`.
    """
    url = CHAT
    if _is_envelope(body):
        try:
            envelope = msgspec.json.decode(body, type=Envelope)
        except UNREADABLE as error:
            return Refusal(status=400, problem=problem_of(error))
        if envelope.method != "POST":
            return _refusal(f"method is {quoted(envelope.method)}; only POST can be queued.", "method")
        url, body = envelope.url, bytes(envelope.body)
        options = Options(
            lane=envelope.lane or options.lane,
            deadline=options.deadline if envelope.deadline is None else envelope.deadline,
            custom_id=options.custom_id if envelope.custom_id is None else envelope.custom_id,
            answer=options.answer if envelope.answer is None else envelope.answer,
        )
    if url not in ENDPOINTS:
        return _refusal(f"{quoted(url)} cannot be queued; use {' or '.join(ENDPOINTS)}.", "url")
    return judge_options(url, body, options, now=now, default_deadline_s=default_deadline_s)


def asked_for(body: bytes) -> AnswerTo | None:
    """Where the answer to a body is to go, as far as that can be read, whatever else is wrong with it."""
    if not _is_envelope(body):
        return None
    try:
        asked = msgspec.json.decode(body, type=_Asked)
    except UNREADABLE:
        return None
    return TOPIC if asked.answer == TOPIC else None


def _is_envelope(body: bytes) -> bool:
    try:
        shape = msgspec.json.decode(body, type=_Shape)
    except UNREADABLE:
        return False  # admission will say what is wrong with it
    return shape.body is not msgspec.UNSET and shape.messages is msgspec.UNSET


def judge_options(
    url: str, body: bytes, options: Options, *, now: datetime, default_deadline_s: int
) -> Submission | Refusal:
    """The body with its options, if each of these can be granted."""
    if options.lane not in LANES:
        return _refusal(f"lane is {quoted(options.lane)}; use {' or '.join(LANES)}.", "lane")
    if options.custom_id and len(options.custom_id) > MAX_CUSTOM_ID:
        return _refusal(f"custom_id is longer than {MAX_CUSTOM_ID} characters.", "custom_id")
    if options.answer not in (None, TOPIC):
        return _refusal(f"answer is {quoted(options.answer)}; use {TOPIC}, or leave it out.", "answer")
    try:
        deadline_at = _deadline(options.deadline, now, default_deadline_s)
    except Invalid as error:
        return _refusal(str(error), "deadline")
    lane: Lane = "batch" if options.lane == "batch" else "interactive"
    return Submission(
        url=url,
        body=body,
        lane=lane,
        deadline_at=deadline_at,
        custom_id=options.custom_id,
        answer_to=None if options.answer is None else TOPIC,
    )


def _deadline(asked: str | int | float | None, now: datetime, default_s: int) -> datetime:
    if asked is None:
        return now + timedelta(seconds=default_s)
    try:
        deadline_at = now + timedelta(seconds=float(asked))
    except ValueError:
        deadline_at = parse_time(clipped(str(asked)))
    except OverflowError as error:
        raise Invalid(f"deadline {quoted(asked)} is too far away.") from error
    if deadline_at <= now:
        raise Invalid(f"deadline {quoted(asked)} has passed already; give seconds from now or a later time.")
    if deadline_at > now + timedelta(days=7):
        raise Invalid(f"deadline {quoted(asked)} is more than 7 days away.")
    return deadline_at


def _refusal(message: str, param: str) -> Refusal:
    return Refusal(status=400, problem=Problem(message=message, param=param, code="invalid_value"))
