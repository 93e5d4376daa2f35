"""Whether a completion or an embedding may be run: bodies whose prompts are plain texts or token ids."""

import hashlib

import msgspec

from events.config import CONTEXT_LENIENCY, Config, Needs
from events.words import Refusal
from functions.request.admission import (
    BYTES_PER_TOKEN,
    Admitted,
    StreamOptions,
    invalid,
    too_long,
    unknown_model,
)
from functions.request.mistakes import UNREADABLE, problem_of
from functions.request.prefix import of_text

Prompt = str | list[str | int | list[int]]  # a text, token ids, or a list of either


class CompletionBody(msgspec.Struct, frozen=True, gc=False):
    """The fields of a completion that decide something here; all others pass unread."""

    model: str
    prompt: Prompt
    stream: bool | None = None
    stream_options: StreamOptions | msgspec.UnsetType | None = msgspec.UNSET


class EmbeddingBody(msgspec.Struct, frozen=True, gc=False):
    """The fields of an embedding that decide something here; all others pass unread."""

    model: str
    input: Prompt


_completion = msgspec.json.Decoder(CompletionBody)
_embedding = msgspec.json.Decoder(EmbeddingBody)


def admit_completion(body: bytes, config: Config) -> Admitted | Refusal:
    """Judges the body of a completion."""
    try:
        asked = _completion.decode(body)
        body.decode()
    except UNREADABLE as error:
        return Refusal(status=400, problem=problem_of(error))
    options = asked.stream_options
    return _admit(
        asked.model,
        asked.prompt,
        "prompt",
        config,
        stream=asked.stream is True,
        has_stream_options=options is not msgspec.UNSET,
        wants_usage=isinstance(options, StreamOptions) and options.include_usage is True,
    )


def admit_embedding(body: bytes, config: Config) -> Admitted | Refusal:
    """Judges the body of an embedding; it never streams."""
    try:
        asked = _embedding.decode(body)
        body.decode()
    except UNREADABLE as error:
        return Refusal(status=400, problem=problem_of(error))
    return _admit(asked.model, asked.input, "input", config)


def _admit(
    model: str,
    prompt: Prompt,
    param: str,
    config: Config,
    *,
    stream: bool = False,
    has_stream_options: bool = False,
    wants_usage: bool = False,
) -> Admitted | Refusal:
    if prompt == []:
        return invalid(f"{param} is empty: send a text, or at least one in a list.", param, "empty_array")
    plan = config.plans.get(model)
    if plan is None:
        return unknown_model(model, config)
    sizes = sizes_of(prompt)
    longest = max(sizes)  # each is read on its own
    if plan.context and longest > plan.context * CONTEXT_LENIENCY:
        return too_long(longest, model, plan.context, param)
    return Admitted(
        model=model,
        stream=stream,
        has_stream_options=has_stream_options,
        wants_usage=wants_usage,
        input_estimate=sum(sizes),
        needs=Needs(tokens=longest),
        seed="" if plan.plain is not None else _seed(prompt),
        prefix=of_text(prompt) if plan.spread and param == "prompt" else 0,
    )


def sizes_of(prompt: Prompt) -> list[int]:
    """About how many tokens each prompt has: a text its UTF-8 bytes by four, of ids one each. Ids side by
    side are one prompt.
    """
    if isinstance(prompt, str):
        return [_size(prompt)]
    ids = sum(isinstance(part, int) for part in prompt)
    sizes = [
        _size(part) if isinstance(part, str) else len(part) for part in prompt if not isinstance(part, int)
    ]
    return [max(1, size) for size in (*sizes, *([ids] if ids else []))]


def _size(text: str) -> int:
    return max(1, len(text if text.isascii() else text.encode()) // BYTES_PER_TOKEN)


def _seed(prompt: Prompt) -> str:
    return hashlib.blake2b(msgspec.json.encode(prompt), digest_size=16).hexdigest()
