"""OpenAI's error envelope, for every way a request can fail."""

import msgspec

from events.words import Problem, Refusal, server_problem
from services.wire.fields import JSON, Fields, field
from services.wire.ids import request_id

NO_RETRY: Fields = b"x-should-retry: false\r\n"  # the official clients obey it
RETRYABLE = frozenset({408, 409, 429, 500, 502, 503, 504})
CLOSING = Refusal(
    status=503,
    problem=server_problem("This server is shutting down; try again.", "shutting_down"),
    retry_after_s=1,
)
FAILED = Refusal(status=500, problem=server_problem("Something failed here.", "internal_error"))


def error_body(problem: Problem) -> bytes:
    """`{"error": {...}}` with all four of its fields."""
    error = {
        "message": problem.message,
        "type": problem.type,
        "param": problem.param,
        "code": problem.code,
    }
    return msgspec.json.encode({"error": error})


def error_event(problem: Problem) -> bytes:
    """The same as the last event of a stream that cannot go on."""
    return b"data: %b\n\n" % error_body(problem)


def error_fields(refusal: Refusal) -> Fields:
    """The header lines of a refusal: 429 and 503 say when to come back, hopeless ones say not to."""
    fields = JSON
    if refusal.retry_after_s is not None:
        fields += field("retry-after", str(refusal.retry_after_s))
    elif refusal.status in (429, 503):
        fields += b"retry-after: 1\r\n"
    if refusal.status not in RETRYABLE:
        fields += NO_RETRY
    if refusal.status == 401:
        fields += b"www-authenticate: Bearer\r\n"
    return fields


def render_refusal(status: int, message: str, code: str) -> tuple[Fields, bytes]:
    """Header lines and body for what goes wrong below the endpoints."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    refusal = Refusal(status=status, problem=Problem(message=message, type=kind, code=code))
    return field("x-request-id", request_id()) + error_fields(refusal), error_body(refusal.problem)
