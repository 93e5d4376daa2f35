"""Completions of plain text (`/v1/completions`), read and made up."""

from typing import Annotated, Any

import msgspec

from events.words import Problem, Record, Refusal
from functions.request.admission import BYTES_PER_TOKEN
from services.rehearsal.asked.checks import (
    MOST_CHOICES,
    Served,
    StreamOptions,
    UnfitError,
    check_room,
    decoded,
    unknown_model,
)
from services.rehearsal.said.draft import Choice, Draft, Token, drafted, tokens_of
from services.rehearsal.said.prose import compose, roll, shortened

USUAL_TOKENS = 16  # OpenAI's
MOST_ANSWERS = 128
MOST_TOKENS = 1_000_000  # of all answers that are as long as they may be

Count = Annotated[int, msgspec.Meta(ge=0)]
Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)] | None


class CompletionRequest(msgspec.Struct, frozen=True):
    """The fields of a completion that the engine honours or checks; all others are ignored."""

    model: str
    prompt: str | list[Any]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    stop: str | list[str] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=MOST_CHOICES)] | None = None
    best_of: Annotated[int, msgspec.Meta(ge=1, le=MOST_CHOICES)] | None = None
    seed: int | None = None
    echo: bool | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    suffix: str | None = None
    ignore_eos: bool = False
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty = None
    frequency_penalty: Penalty = None

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to end with its usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def limit(self) -> int:
        """The most tokens each answer may have."""
        return USUAL_TOKENS if self.max_tokens is None else self.max_tokens


class Prompt(Record):
    """One text to go on with, or the token ids of one."""

    text: str = ""
    ids: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """How many it counts as: bytes by four, or its ids."""
        return len(self.ids) or max(1, len(self.text.encode()) // BYTES_PER_TOKEN)

    def pieces(self) -> tuple[Token, ...]:
        """It as text in tokens; an id, whose text nobody knows, stands as `<id>`."""
        return tuple(b"<%d>" % one for one in self.ids) or tuple(tokens_of(self.text))


_requests = msgspec.json.Decoder(CompletionRequest)


def read(body: bytes, served: Served) -> CompletionRequest | Refusal:
    """A request that can be answered, or why it cannot."""
    request = decoded(_requests, body)
    if isinstance(request, Refusal):
        return request
    try:
        return unknown_model(request.model, served) or _judged(request, served)
    except UnfitError as error:
        return error.refusal()


def _judged(request: CompletionRequest, served: Served) -> CompletionRequest | Refusal:
    if request.suffix:
        return _invalid("This engine only goes on with a prompt; leave suffix out.", "suffix")
    if request.best_of is not None and (request.best_of < (request.n or 1) or request.stream):
        return _invalid("best_of must be at least n, and cannot be streamed.", "best_of")
    told = prompts(request.prompt, "prompt", most=MOST_ANSWERS)
    for prompt in told:
        check_room(prompt.tokens, served, "prompt")
    answers = len(told) * (request.n or 1)
    if answers > MOST_ANSWERS:
        return _invalid(f"The prompts times n are {answers}, and may be {MOST_ANSWERS}.", "n")
    if request.ignore_eos and answers * min(request.limit, served.context) > MOST_TOKENS:
        return _invalid(f"All answers together may have {MOST_TOKENS} tokens.", "max_tokens")
    return request


def _invalid(message: str, param: str) -> Refusal:
    return Refusal(status=400, problem=Problem(message=message, param=param, code="invalid_value"))


def prompts(said: str | list[Any], param: str, *, most: int) -> list[Prompt]:
    """Texts or lists of token ids, one or several. Raises `UnfitError` where they are neither."""
    if isinstance(said, str):
        return [Prompt(text=said)]
    if said and all(map(_is_id, said)):
        return [Prompt(ids=tuple(said))]
    if not 1 <= len(said) <= most:
        raise UnfitError(f"{param} must have from 1 to {most} entries.", param)
    return [_prompt(one, f"{param}[{number}]") for number, one in enumerate(said)]


def _prompt(one: object, place: str) -> Prompt:
    if isinstance(one, str):
        return Prompt(text=one)
    if isinstance(one, list) and one and all(map(_is_id, one)):
        return Prompt(ids=tuple(one))
    raise UnfitError(f"{place} is neither text nor a list of token ids.", place, "invalid_type")


def _is_id(one: object) -> bool:
    return isinstance(one, int) and not isinstance(one, bool) and one >= 0


def draft(request: CompletionRequest, served: Served) -> Draft:
    """Makes up `n` answers to each prompt, one prompt after the other."""
    told = prompts(request.prompt, "prompt", most=MOST_ANSWERS)
    choices = [_choice(request, prompt, served, index) for prompt in told for index in range(request.n or 1)]
    return drafted(choices, prompt_tokens=sum(prompt.tokens for prompt in told))


def _choice(request: CompletionRequest, prompt: Prompt, served: Served, index: int) -> Choice:
    limit = min(request.limit, served.context - prompt.tokens)
    if not limit:
        return Choice(tokens=(), finish="length")
    dice = roll([b"".join(prompt.pieces())], f"{served.seed}/{request.seed}/{index}")
    echo = shortened(prompt.text)
    return compose(dice, echo=echo, limit=limit, endless=request.ignore_eos, stop=request.stops)


def echoed(request: CompletionRequest) -> list[tuple[Token, ...]]:
    """What each answer begins with: its prompt, where that is to be repeated."""
    told = prompts(request.prompt, "prompt", most=MOST_ANSWERS)
    return [prompt.pieces() if request.echo else () for prompt in told for _ in range(request.n or 1)]
