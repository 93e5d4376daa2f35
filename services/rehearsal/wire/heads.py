"""What all answers have in common: their header lines, their usage, and how they are refused."""

from functools import lru_cache

import msgspec

from events.words import Refusal
from services.front.call import Reply
from services.rehearsal.asked.checks import Served
from services.rehearsal.said.draft import Draft
from services.wire.errors import error_body, error_fields
from services.wire.fields import JSON, Fields, field

ENGINE: Fields = b"x-penstock-engine: rehearsal\r\n"
WHOLE: Fields = ENGINE + JSON
EVENTS: Fields = ENGINE + b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
DONE = b"data: [DONE]\n\n"


def usage(draft: Draft) -> bytes:
    """OpenAI's usage object."""
    return (
        b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%d}}'
        % (draft.prompt_tokens, draft.total, draft.prompt_tokens + draft.total, draft.cached_tokens)
    )


def name(served: Served, id: str, created: int) -> bytes:
    """The fields by which every object of an answer is known."""
    return b'"id":"%b","created":%d,"model":%b,"system_fingerprint":"rehearsal"' % (
        id.encode(),
        created,
        _spelled(served.model),
    )


@lru_cache(maxsize=16)
def _spelled(model: str) -> bytes:
    return msgspec.json.encode(model)


def refuse(reply: Reply, refusal: Refusal) -> None:
    """Answers with OpenAI's error object."""
    reply.send(refusal.status, ENGINE + error_fields(refusal), error_body(refusal.problem))


def refuse_barely(reply: Reply, refusal: Refusal) -> None:
    """The same from an engine that says when to come back only where it is told to."""
    fields = WHOLE
    if refusal.retry_after_s is not None:
        fields += field("retry-after", str(refusal.retry_after_s))
    reply.send(refusal.status, fields, error_body(refusal.problem))
