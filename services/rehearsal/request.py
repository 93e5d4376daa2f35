"""Chat completions as the engine reads them, and the answers it makes up for them."""

from collections.abc import Sequence

import msgspec

from events.words import Problem, Record, Refusal
from functions.request.admission import ChatMessage, estimate_input
from functions.request.mistakes import UNREADABLE, problem_of, quoted
from services.rehearsal.prose import Choice, compose, roll, shortened

MOST_CHOICES = 16


class StreamOptions(msgspec.Struct, frozen=True):
    """OpenAI's `stream_options`."""

    include_usage: bool | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """The fields of a chat completion that the engine honours; all others are ignored.

    `ignore_eos` is vLLM's: the answer is exactly as long as it may be, as load tests want it.
    """

    model: str
    messages: list[ChatMessage]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    seed: int | None = None
    ignore_eos: bool = False

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


class Served(Record):
    """The one model an engine has; `created` in Unix seconds."""

    model: str
    context: int
    created: int = 0


class Draft(Record):
    """All that will be said to one request; prompt tokens are what `estimate_input` counts."""

    choices: list[Choice]
    total: int  # completion tokens of all choices
    prompt_tokens: int
    cached_tokens: int = 0


class _Part(msgspec.Struct, frozen=True):
    text: str = ""


_requests = msgspec.json.Decoder(ChatRequest)
_contents = msgspec.json.Decoder(list[_Part] | None)


def read(body: bytes, served: Served) -> ChatRequest | Refusal:
    """A request that can be answered, or why it cannot."""
    try:
        request = _requests.decode(body)
        body.decode()
    except UNREADABLE as error:
        return Refusal(status=400, problem=problem_of(error))
    return _judge(request, served) or request


def _judge(request: ChatRequest, served: Served) -> Refusal | None:
    if request.model != served.model:
        return _unknown_model(request.model, served)
    if not request.messages:
        return _invalid("messages is empty: send at least one message.", "messages", "empty_array")
    if request.limit is not None and request.limit < 1:
        return _invalid("The most tokens an answer may have must be at least 1.", "max_completion_tokens")
    if request.n is not None and not 1 <= request.n <= MOST_CHOICES:
        return _invalid(f"n must be from 1 to {MOST_CHOICES}.", "n")
    if estimate_input(request.messages) >= served.context:
        return _too_long(request, served)
    return None


def _unknown_model(name: str, served: Served) -> Refusal:
    message = f"The model {quoted(name)} does not exist here; this engine has {served.model!r}."
    return Refusal(status=404, problem=Problem(message=message, code="model_not_found", param="model"))


def _too_long(request: ChatRequest, served: Served) -> Refusal:
    message = (
        f"The prompt has {estimate_input(request.messages)} tokens and the context of {served.model} "
        f"{served.context}, of which the answer needs at least one."
    )
    return _invalid(message, "messages", "context_length_exceeded")


def _invalid(message: str, param: str, code: str = "invalid_value") -> Refusal:
    return Refusal(status=400, problem=Problem(message=message, param=param, code=code))


def draft(request: ChatRequest, served: Served, *, seed: int, cached_messages: int = 0) -> Draft:
    """Makes up the answers a request asks for, decided by `seed`, its own seed and its messages.

    Of the prompt, the first `cached_messages` count as cached, but never all of it.
    """
    prompt_tokens = estimate_input(request.messages)
    choices = _choices(request, seed, room=served.context - prompt_tokens)
    cached = estimate_input(request.messages[:cached_messages]) if cached_messages else 0
    return Draft(
        choices=choices,
        total=sum(len(choice.tokens) for choice in choices),
        prompt_tokens=prompt_tokens,
        cached_tokens=min(cached, prompt_tokens - 1),
    )


def _choices(request: ChatRequest, seed: int, *, room: int) -> list[Choice]:
    prompt = [part for said in request.messages for part in (said.role.encode(), said.said)]
    echo = shortened(said_last(request.messages))
    return [
        compose(
            roll(prompt, f"{seed}/{request.seed}/{index}"),
            echo=echo,
            limit=min(request.limit or room, room),
            endless=request.ignore_eos,
            stop=request.stops,
        )
        for index in range(request.n or 1)
    ]


def said_last(messages: Sequence[ChatMessage]) -> str:
    """The text of the last message by the user, or "" where there is none to be read."""
    for message in reversed(messages):
        if message.role == "user":
            return _text(message)
    return ""


def _text(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    try:
        said = _contents.decode(message.said)
    except ValueError:
        return ""  # neither text nor parts; the answer does without
    return " ".join(part.text for part in said or () if part.text)
