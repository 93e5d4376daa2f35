"""Whether a chat completion may be run: the one verdict of the hot path and of the event path."""

from collections.abc import Sequence

import msgspec

from events.config import Config
from events.words import Problem, Refusal
from functions.request.mistakes import UNREADABLE, problem_of, quoted

CHAT = "/v1/chat/completions"
BYTES_PER_TOKEN = 4  # of English text, https://help.openai.com/en/articles/4936856
IMAGE_TOKENS = 256  # what Gemma 3 spends on one image
CONTEXT_LENIENCY = 1.5  # an estimate refuses only what is far over; the engine judges the rest


class ChatMessage(msgspec.Struct, frozen=True, gc=False):
    """One message; content in parts is unread."""

    role: str
    content: str | list[msgspec.Raw] | None = None

    @property
    def said(self) -> bytes:
        """The content: a text in UTF-8, parts as their JSON."""
        content = self.content
        return content.encode() if isinstance(content, str) else msgspec.json.encode(content)


class StreamOptions(msgspec.Struct, frozen=True, gc=False):
    """OpenAI's `stream_options`."""

    include_usage: bool | None = None


class ChatBody(msgspec.Struct, frozen=True, gc=False):
    """The fields of a chat completion that decide something here; all others pass unread."""

    model: str
    messages: list[ChatMessage]
    stream: bool | None = None
    stream_options: StreamOptions | msgspec.UnsetType | None = msgspec.UNSET


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """The verdict for: which model, whether streamed, and what the prompt is estimated to cost."""

    model: str
    stream: bool
    has_stream_options: bool
    wants_usage: bool
    input_estimate: int


_decoder = msgspec.json.Decoder(ChatBody)


def admit(body: bytes, config: Config) -> Admitted | Refusal:
    """Judges a request body (JSON, UTF-8) against the configuration."""
    try:
        chat = _decoder.decode(body)
        body.decode()
    except UNREADABLE as error:
        return Refusal(status=400, problem=problem_of(error))
    if not chat.messages:
        return _invalid("messages is empty: send at least one message.", "messages", "empty_array")
    model = config.models.get(chat.model)
    if model is None:
        return unknown_model(chat.model, config)
    estimate = estimate_input(chat.messages)
    if model.context and estimate > model.context * CONTEXT_LENIENCY:
        return _invalid(
            f"The prompt has about {estimate} tokens (estimated from its length) and {chat.model} takes "
            f"{model.context}. Shorten the messages.",
            "messages",
            "context_length_exceeded",
        )
    options = chat.stream_options
    wants_usage = isinstance(options, StreamOptions) and options.include_usage is True
    return Admitted(chat.model, chat.stream is True, options is not msgspec.UNSET, wants_usage, estimate)


def estimate_input(messages: Sequence[ChatMessage]) -> int:
    """About how many tokens the prompt has: its UTF-8 bytes by four, images at a flat rate."""
    total = 0
    for message in messages:
        content = message.content
        if isinstance(content, str):
            total += _size(content)
        elif content is not None:
            total += sum(map(_size_of_part, content))
    return max(1, total // BYTES_PER_TOKEN)


class _Part(msgspec.Struct, frozen=True, gc=False):
    text: str = ""
    image_url: msgspec.Raw = msgspec.Raw(b"")


_part = msgspec.json.Decoder(_Part)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _size_of_part(raw: msgspec.Raw) -> int:
    try:
        part = _part.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return memoryview(raw).nbytes  # not a part we know; the engine will judge it
    return _size(part.text) + (IMAGE_TOKENS * BYTES_PER_TOKEN if bytes(part.image_url) else 0)


def unknown_model(name: str, config: Config) -> Refusal:
    """The refusal of a model that does not exist; it names those that do."""
    known = ", ".join(sorted(config.models)) or "none is configured"
    problem = Problem(
        message=f"The model {quoted(name)} does not exist here. Models: {known}.",
        code="model_not_found",
        param="model",
    )
    return Refusal(status=404, problem=problem)


def _invalid(message: str, param: str, code: str) -> Refusal:
    return Refusal(status=400, problem=Problem(message=message, param=param, code=code))
