"""The items of an input as the messages of a chat."""

from collections.abc import Sequence

import msgspec

from events.words import Refusal
from functions.request.admission import invalid, unsupported
from functions.request.mistakes import quoted
from services.responses.asked import NOT_HERE, Item, Part

# What instructs is told as `system`: many engines know no developers.
ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
# The types of parts that are words, and which field has them.
WORDS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}


class Function(msgspec.Struct, frozen=True):
    """A function as it was called."""

    name: str
    arguments: str


class Called(msgspec.Struct, frozen=True):
    """One call of a tool."""

    id: str
    function: Function
    type: str = "function"


class ImageUrl(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where an image is."""

    url: str
    detail: str | None = None


class ChatPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a message."""

    type: str
    text: str | None = None
    image_url: ImageUrl | None = None


class Message(msgspec.Struct, omit_defaults=True):
    """One message of a chat."""

    role: str
    content: str | list[ChatPart] | None
    tool_calls: list[Called] | None = None
    tool_call_id: str | None = None


def messages_of(items: str | Sequence[Item], instructions: str | None) -> list[Message] | Refusal:
    """The messages. Calls beside each other, and a text right before them, are one message."""
    messages = [Message(role="system", content=instructions)] if instructions else []
    if isinstance(items, str):
        return [*messages, Message(role="user", content=items)]
    for at, item in enumerate(items):
        refusal = _add(messages, item, f"input[{at}]")
        if refusal is not None:
            return refusal
    return messages


def _add(messages: list[Message], item: Item, place: str) -> Refusal | None:
    match item.type:
        case "message":
            return _add_message(messages, item, place)
        case "function_call":
            return _add_call(messages, item, place)
        case "function_call_output":
            return _add_output(messages, item, place)
        case "reasoning":  # it was told to the caller; engines read no thoughts
            return None
    return unsupported(f"{place}.type", f"An item of type {quoted(item.type)} {NOT_HERE}.")


def _add_message(messages: list[Message], item: Item, place: str) -> Refusal | None:
    role = ROLES.get(item.role)
    if role is None:
        known = ", ".join(ROLES)
        return invalid(f"role is {quoted(item.role)}; use one of {known}.", f"{place}.role", "invalid_value")
    if item.content is None:
        return invalid(f"{place}.content is required.", f"{place}.content", "missing_required_parameter")
    content = _content(item.content, f"{place}.content")
    if isinstance(content, Refusal):
        return content
    messages.append(Message(role=role, content=content))
    return None


def _add_call(messages: list[Message], item: Item, place: str) -> Refusal | None:
    if refusal := _needed(item, place, "call_id", "name"):
        return refusal
    call = Called(id=item.call_id, function=Function(name=item.name, arguments=item.arguments or "{}"))
    last = messages[-1] if messages else None
    if last is None or last.role != "assistant":
        last = Message(role="assistant", content=None)
        messages.append(last)
    last.tool_calls = [*(last.tool_calls or ()), call]
    return None


def _add_output(messages: list[Message], item: Item, place: str) -> Refusal | None:
    if refusal := _needed(item, place, "call_id"):
        return refusal
    content = _content(item.output or "", f"{place}.output")
    if isinstance(content, Refusal):
        return content
    messages.append(Message(role="tool", content=content, tool_call_id=item.call_id))
    return None


def _needed(item: Item, place: str, *names: str) -> Refusal | None:
    for name in names:
        if not getattr(item, name):
            param = f"{place}.{name}"
            return invalid(f"{param} is required.", param, "missing_required_parameter")
    return None


def _content(content: str | list[Part], place: str) -> str | list[ChatPart] | Refusal:
    """Parts that are all texts are one text: not every engine reads parts."""
    if isinstance(content, str):
        return content
    parts: list[ChatPart] = []
    for at, part in enumerate(content):
        made = _part(part, f"{place}[{at}]")
        if isinstance(made, Refusal):
            return made
        parts.append(made)
    texts = [part.text for part in parts if part.text is not None]
    return "".join(texts) if len(texts) == len(parts) else parts


def _part(part: Part, place: str) -> ChatPart | Refusal:
    field = WORDS.get(part.type)
    if field is not None:
        text: str | None = getattr(part, field)
        if text is not None:
            return ChatPart(type="text", text=text)
        return invalid(f"{place}.{field} is required.", f"{place}.{field}", "missing_required_parameter")
    if part.type == "input_image" and part.image_url:
        return ChatPart(type="image_url", image_url=ImageUrl(url=part.image_url, detail=part.detail))
    image = part.type == "input_image"
    what = "An image by file_id" if image else f"A part of type {quoted(part.type)}"
    return unsupported(place, f"{what} {NOT_HERE}.")
