"""Whether a chat completion may be run: the one verdict of the hot path and of the event path."""

import hashlib
from collections.abc import Sequence

import msgspec

from events.config import CONTEXT_LENIENCY, Config, Needs
from events.words import Problem, Refusal
from functions.request.mistakes import UNREADABLE, problem_of, quoted
from functions.request.prefix import Named, of_chat

BYTES_PER_TOKEN = 4  # of English text, https://help.openai.com/en/articles/4936856
IMAGE_TOKENS = 256  # what Gemma 3 spends on one image
NONE = (msgspec.UNSET, msgspec.Raw(b""), msgspec.Raw(b"null"), msgspec.Raw(b"[]"))


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
    tools: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    response_format: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    store: bool | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, msgspec.Raw] | None = None
    prompt_cache_key: Named = msgspec.UNSET
    safety_identifier: Named = msgspec.UNSET
    user: Named = msgspec.UNSET


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """The verdict for: which model, as the caller named it, whether streamed, what the prompt is estimated to
    cost, and what it needs of a model. `seed` and `prefix` are the same in every turn of a conversation, the
    `prefix` also in others that begin alike; they are empty and 0 where nothing depends on them.
    """

    model: str
    stream: bool
    has_stream_options: bool
    wants_usage: bool
    input_estimate: int
    needs: Needs = Needs()
    seed: str = ""
    prefix: int = 0


_decoder = msgspec.json.Decoder(ChatBody)


def admit(body: bytes, config: Config) -> Admitted | Refusal:
    """Judges a request body (JSON, UTF-8) against the configuration."""
    try:
        chat = _decoder.decode(body)
        body.decode()
    except UNREADABLE as error:
        return Refusal(status=400, problem=problem_of(error))
    if not chat.messages:
        return invalid("messages is empty: send at least one message.", "messages", "empty_array")
    if chat.store or chat.previous_response_id or chat.conversation:
        return _stateful(chat)
    plan = config.plans.get(chat.model)
    if plan is None:
        return unknown_model(chat.model, config)
    estimate = estimate_input(chat.messages)
    if plan.context and estimate > plan.context * CONTEXT_LENIENCY:
        return too_long(estimate, chat.model, plan.context, "messages")
    options = chat.stream_options
    wants_usage = isinstance(options, StreamOptions) and options.include_usage is True
    given = (chat.model, chat.stream is True, options is not msgspec.UNSET, wants_usage, estimate)
    if plan.plain is not None and not plan.spread:  # nothing further decides
        return Admitted(*given)
    prefix = _prefix(chat) if plan.spread else 0
    if plan.plain is not None:
        return Admitted(*given, prefix=prefix)
    return Admitted(*given, _needs(chat, estimate), _seed(chat.messages), prefix)


def _prefix(chat: ChatBody) -> int:
    return of_chat(chat.messages, chat.prompt_cache_key, chat.safety_identifier, chat.user)


def _stateful(chat: ChatBody) -> Refusal:
    """The refusal of what needs a memory of conversations, which there is not."""
    if chat.store:
        return unsupported("store", "Chats are not stored: leave store out, or ask for a response with it.")
    param = "previous_response_id" if chat.previous_response_id else "conversation"
    return unsupported(
        param, f"No conversations are kept here: leave {param} out, and send all of its turns."
    )


def _needs(chat: ChatBody, estimate: int) -> Needs:
    shape = chat.response_format
    return Needs(
        vision=any(map(_has_image, chat.messages)),
        tools=chat.tools not in NONE,
        json_schema=shape is not msgspec.UNSET and b'"json_schema"' in bytes(shape),
        tokens=estimate,
    )


def _seed(messages: Sequence[ChatMessage]) -> str:
    """A hash over the beginning of a conversation, to the first thing its user says: the same each turn."""
    hashed = hashlib.blake2b(digest_size=16)
    for message in messages:
        hashed.update(b"%b\x1f%b\x1e" % (message.role.encode(), message.said))
        if message.role == "user":
            break
    return hashed.hexdigest()


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


def _has_image(message: ChatMessage) -> bool:
    return isinstance(message.content, list) and any(map(_is_image, message.content))


def _is_image(raw: msgspec.Raw) -> bool:
    try:
        return _part.decode(raw).image_url not in NONE
    except (msgspec.DecodeError, RecursionError):
        return False


def unknown_model(name: str, config: Config) -> Refusal:
    """The refusal of a model that does not exist; it names those that do."""
    known = ", ".join(sorted(config.plans)) or "none is configured"
    problem = Problem(
        message=f"The model {quoted(name)} does not exist here. Models: {known}.",
        code="model_not_found",
        param="model",
    )
    return Refusal(status=404, problem=problem)


def too_long(estimate: int, model: str, context: int, param: str) -> Refusal:
    """The refusal of a prompt that is far over what a model takes; `param`: where it is told."""
    return invalid(
        f"The prompt has about {estimate} tokens (estimated from its length) and {model} takes {context}. "
        f"Shorten the {param}.",
        param,
        "context_length_exceeded",
    )


def unsupported(param: str, message: str) -> Refusal:
    """The refusal of a field that asks for what is not done here."""
    return invalid(message, param, "unsupported_parameter")


def invalid(message: str, param: str, code: str) -> Refusal:
    """A refusal with 400 of one field."""
    return Refusal(status=400, problem=Problem(message=message, param=param, code=code))
