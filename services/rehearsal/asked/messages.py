"""The messages of a conversation: who may speak, what they may say, and what was said last."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from functions.request.admission import ChatMessage
from functions.request.mistakes import quoted
from services.rehearsal.asked.checks import UnfitError

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
PARTS = frozenset({"text", "image_url", "input_audio", "file", "refusal"})
LIST, TEXT, NOTHING = b'["n'


class Called(msgspec.Struct, frozen=True):
    """A call the assistant made, by its id."""

    id: str


class Message(ChatMessage, frozen=True):
    """One message, its content unread."""

    role: Role
    tool_calls: list[Called] | None = None
    tool_call_id: str | None = None


class _Image(msgspec.Struct, frozen=True):
    url: str


class _Part(msgspec.Struct, frozen=True):
    type: str = "text"
    text: str = ""
    image_url: _Image | None = None


class _Words(msgspec.Struct, frozen=True):
    text: str = ""


_contents = msgspec.json.Decoder(list[_Part])
_words = msgspec.json.Decoder(str | list[_Words] | None)


def check_messages(messages: Sequence[Message]) -> None:
    """Raises `UnfitError` where a message is none, or a tool speaks that was not called."""
    called: set[str] = set()
    for number, message in enumerate(messages):
        plain = memoryview(message.content)[0] == TEXT
        if plain and message.tool_calls is None and message.role != "tool":
            continue
        if not plain:
            _check_content(message, f"messages[{number}].content")
        if message.tool_calls:
            called.update(call.id for call in message.tool_calls)
        if message.role == "tool" and message.tool_call_id not in called:
            raise UnfitError(
                "A message of a tool needs the tool_call_id of a call that an assistant made before it.",
                f"messages[{number}].tool_call_id",
            )


def _check_content(message: Message, place: str) -> None:
    content = bytes(message.content)
    if content[0] == NOTHING:
        return
    if content[0] != LIST:
        raise UnfitError("The content of a message is text, or a list of parts.", place, "invalid_type")
    try:
        parts = _contents.decode(content)
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"The parts of the content cannot be read: {error}.", place) from error
    for number, part in enumerate(parts):
        if part.type not in PARTS:
            known = ", ".join(sorted(PARTS))
            raise UnfitError(f"The type {quoted(part.type)} is none of {known}.", f"{place}[{number}].type")
        if part.type == "image_url":
            _check_image(part, f"{place}[{number}].image_url.url")


def _check_image(part: _Part, place: str) -> None:
    """Its address is looked at, and never asked."""
    if part.image_url is None or not part.image_url.url.startswith(("http://", "https://", "data:image/")):
        raise UnfitError(
            "An image needs an address that begins with https://, http:// or data:image/.", place
        )


def said_last(messages: Sequence[ChatMessage]) -> str:
    """The text of the last message by the user, or "" where there is none to be read."""
    for message in reversed(messages):
        if message.role == "user":
            return text(message)
    return ""


def told_last(messages: Sequence[ChatMessage]) -> str:
    """What tools answered since anybody else spoke, or ""."""
    told: list[str] = []
    for message in reversed(messages):
        if message.role != "tool":
            break
        told.insert(0, text(message))
    return ", ".join(told)


def text(message: ChatMessage) -> str:
    """What a message says in words."""
    try:
        said = _words.decode(message.content)
    except ValueError:
        return ""  # neither text nor parts; the answer does without
    if isinstance(said, list):
        return " ".join(part.text for part in said if part.text)
    return said or ""
