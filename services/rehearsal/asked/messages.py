"""The messages of a conversation: who may speak, what they may say, and what was said last."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from functions.request.admission import ChatMessage
from functions.request.mistakes import quoted
from services.rehearsal.asked.checks import UnfitError

PARTS = frozenset({"text", "image_url", "input_audio", "file", "refusal"})
Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class Called(msgspec.Struct, frozen=True, gc=False):
    """A call the assistant made, by its id."""

    id: str


class Message(ChatMessage, frozen=True, gc=False):
    """One message; content in parts is unread."""

    role: Role
    tool_calls: list[Called] | None = None
    tool_call_id: str | None = None


class _Image(msgspec.Struct, frozen=True):
    url: str


class _Part(msgspec.Struct, frozen=True):
    type: str
    text: str | None = None
    image_url: _Image | None = None


class _Words(msgspec.Struct, frozen=True):
    text: str = ""


_part = msgspec.json.Decoder(_Part)
_words = msgspec.json.Decoder(list[_Words])


def check_messages(messages: Sequence[Message]) -> None:
    """Raises `UnfitError` where a part is none, or a tool speaks that was not called."""
    called: set[str] = set()
    for number, message in enumerate(messages):
        if message.tool_calls:
            called.update(call.id for call in message.tool_calls)
        if message.role == "tool" and message.tool_call_id not in called:
            raise UnfitError(
                "A message of a tool needs the tool_call_id of a call that an assistant made before it.",
                f"messages[{number}].tool_call_id",
            )
        if isinstance(message.content, list):
            for at, part in enumerate(message.content):
                _check_part(part, f"messages[{number}].content[{at}]")


def _check_part(raw: msgspec.Raw, place: str) -> None:
    try:
        part = _part.decode(raw)
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"This part of the content cannot be read: {error}.", place) from error
    if part.type not in PARTS:
        known = ", ".join(sorted(PARTS))
        raise UnfitError(f"The type {quoted(part.type)} is none of {known}.", f"{place}.type")
    if part.type == "text" and part.text is None:
        raise UnfitError("A part of type text needs its text.", f"{place}.text")
    if part.type == "image_url":
        _check_image(part, f"{place}.image_url.url")


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
    if isinstance(message.content, str):
        return message.content
    try:
        said = _words.decode(message.said) if message.content else []
    except ValueError:
        return ""  # no parts; the answer does without
    return " ".join(part.text for part in said if part.text)
