"""Embeddings (`/v1/embeddings`), read and made up."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

from events.words import Refusal
from services.rehearsal.asked.checks import Served, UnfitError, check_room, decoded, unknown_model
from services.rehearsal.asked.completions import Prompt, prompts
from services.rehearsal.said.draft import Draft
from services.rehearsal.said.vectors import features, vector

USUAL_SIZE, MOST_SIZE = 768, 4096
MOST_INPUTS = 2048  # OpenAI's


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """The fields of a request for embeddings; all others are ignored."""

    model: str
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=MOST_SIZE)] | None = None
    user: str | None = None


_requests = msgspec.json.Decoder(EmbeddingRequest)


def read(body: bytes, served: Served) -> EmbeddingRequest | Refusal:
    """A request that can be answered, or why it cannot."""
    request = decoded(_requests, body)
    if isinstance(request, Refusal):
        return request
    try:
        for one in _inputs(request):
            _check_input(one, served)
    except UnfitError as error:
        return error.refusal()
    return unknown_model(request.model, served) or request


def _check_input(one: Prompt, served: Served) -> None:
    if not (one.text or one.ids):
        raise UnfitError("input holds an empty text; send something to embed.", "input")
    check_room(one.tokens, served, "input")


def _inputs(request: EmbeddingRequest) -> list[Prompt]:
    return prompts(request.input, "input", most=MOST_INPUTS)


def draft(request: EmbeddingRequest) -> Draft:
    """No tokens are made, but the prompts are read."""
    return Draft(choices=[], total=0, prompt_tokens=sum(one.tokens for one in _inputs(request)))


def vectors(request: EmbeddingRequest, served: Served) -> Iterator[list[float]]:
    """A vector for each input, decided by the engine's seed and the input."""
    for one in _inputs(request):
        parts = map(str, one.ids) if one.ids else features(one.text)
        yield vector(parts, request.dimensions or USUAL_SIZE, str(served.seed))
