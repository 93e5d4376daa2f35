"""Chat completions as the engine reads them, and the answers it makes up for them."""

from typing import Annotated, Any, Literal

import msgspec

from events.words import Problem, Refusal
from functions.request.admission import BYTES_PER_TOKEN, estimate_input
from services.rehearsal.asked import formats
from services.rehearsal.asked.checks import (
    MOST_CHOICES,
    Served,
    StreamOptions,
    UnfitError,
    check_room,
    decoded,
    unknown_model,
)
from services.rehearsal.asked.messages import Message, check_messages, said_last, text, told_last
from services.rehearsal.asked.tools import Choosing, Tool, calls_of, check_tools, wanted
from services.rehearsal.said.draft import Choice, Draft, drafted, limited, stopped, tokens_of
from services.rehearsal.said.prose import compose, roll, shortened

MOST_TOLD = 400  # characters of a tool's result that an answer repeats
MOST_TOP = 20

Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)] | None


class ChatRequest(msgspec.Struct, frozen=True, gc=False):
    """The fields of a chat completion that the engine honours or checks; all others are ignored.

    `ignore_eos` is vLLM's: the answer is exactly as long as it may be, as load tests want it. What
    sampling is asked for changes nothing.
    """

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    seed: int | None = None
    ignore_eos: bool = False
    tools: list[Tool] | None = None
    tool_choice: Choosing = None
    parallel_tool_calls: bool | None = None
    response_format: formats.ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=MOST_TOP)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty = None
    frequency_penalty: Penalty = None
    logit_bias: dict[str, Any] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    user: str | None = None

    @property
    def limit(self) -> int | None:
        """The most tokens an answer may have, where the caller said so."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to end with its usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def prompt_tokens(self) -> int:
        """What `estimate_input` counts (256 an image, whatever its size), and the tools' JSON by four."""
        told = len(msgspec.json.encode(self.tools)) // BYTES_PER_TOKEN if self.tools else 0
        return estimate_input(self.messages) + told


_requests = msgspec.json.Decoder(ChatRequest)


def read(body: bytes, served: Served) -> ChatRequest | Refusal:
    """A request that can be answered, or why it cannot."""
    request = decoded(_requests, body)
    if isinstance(request, Refusal):
        return request
    try:
        return _judge(request, served) or request
    except UnfitError as error:
        return error.refusal()


def _judge(request: ChatRequest, served: Served) -> Refusal | None:
    unknown = unknown_model(request.model, served)
    if unknown is not None:
        return unknown
    if not request.messages:
        return _invalid("messages is empty: send at least one message.", "messages", "empty_array")
    limit = request.limit
    if limit is not None and limit < 1:
        return _invalid("The most tokens an answer may have must be at least 1.", "max_completion_tokens")
    if request.n is not None and not 1 <= request.n <= MOST_CHOICES:
        return _invalid(f"n must be from 1 to {MOST_CHOICES}.", "n")
    if request.top_logprobs is not None and not request.logprobs:
        return _invalid("top_logprobs is only of use with logprobs.", "top_logprobs")
    check_messages(request.messages)
    if request.tools or request.tool_choice is not None:
        check_tools(request.tools or (), request.tool_choice)
    if request.response_format is not None:
        formats.check_format(request.response_format)
    return None


def _invalid(message: str, param: str, code: str = "invalid_value") -> Refusal:
    return Refusal(status=400, problem=Problem(message=message, param=param, code=code))


def draft(request: ChatRequest, served: Served, *, cached_messages: int = 0) -> Draft:
    """Makes up the answers a request asks for, decided by the engine's seed, its own and its messages.

    Of the prompt, the first `cached_messages` count as cached, but never all of it. Raises `UnfitError`
    where the prompt is too long or a schema too hard.
    """
    prompt_tokens = request.prompt_tokens
    check_room(prompt_tokens, served, "messages")
    cached = estimate_input(request.messages[:cached_messages]) if cached_messages else 0
    choices = _choices(request, served.seed, room=served.context - prompt_tokens)
    return drafted(choices, prompt_tokens=prompt_tokens, cached_tokens=cached)


def _choices(request: ChatRequest, seed: int, *, room: int) -> list[Choice]:
    prompt = [part for said in request.messages for part in (said.role.encode(), said.said)]
    limit = min(request.limit or room, room)
    dice = [roll(prompt, f"{seed}/{request.seed}/{index}") for index in range(request.n or 1)]
    if request.tools or request.response_format is not None:
        return [limited(_structured(request, one, limit), limit) for one in dice]
    return [_prose(request, one, limit) for one in dice]


def _prose(request: ChatRequest, dice: bytes, limit: int) -> Choice:
    echo, by = shortened(said_last(request.messages)), "You"
    if request.messages[-1].role == "tool":
        echo, by = shortened(told_last(request.messages), MOST_TOLD), "The tool"
    return compose(
        dice,
        echo=echo,
        by=by,
        limit=limit,
        endless=request.ignore_eos,
        stop=request.stops,
    )


def _structured(request: ChatRequest, dice: bytes, limit: int) -> Choice:
    last = request.messages[-1]
    called = wanted(
        request.tools or (),
        request.tool_choice,
        said=text(last) if last.role == "user" else "",
        parallel=request.parallel_tool_calls is not False,
    )
    if called:
        return calls_of(called, dice)
    asked = request.response_format
    if asked is None or asked.type == "text":
        return _prose(request, dice, limit)
    said = formats.text(asked, shortened(said_last(request.messages)), dice)
    return stopped(Choice(tokens=tuple(tokens_of(said)), finish="stop"), request.stops)
