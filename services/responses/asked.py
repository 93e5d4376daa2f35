"""The body of a response's request, and what of it is refused because nothing here could honour it."""

import msgspec

from events.words import Refusal
from functions.request.admission import invalid, unsupported
from functions.request.mistakes import UNREADABLE, problem_of, quoted

Raw = msgspec.Raw
Unset = msgspec.UnsetType
UNSET = msgspec.UNSET

NOT_HERE = "is not supported here; leave it out"
ENCRYPTED = "reasoning.encrypted_content"  # there is none, which a caller that keeps its own turns can bear


class Part(msgspec.Struct, frozen=True):
    """A part of a message's content, or of a tool's output."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None


class Item(msgspec.Struct, frozen=True):
    """One item of the input, of any type; which fields count depends on it."""

    type: str = "message"
    role: str = ""
    content: str | list[Part] | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str | list[Part] | None = None


class Tool(msgspec.Struct, frozen=True):
    """A tool; only functions are."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: Raw | Unset = UNSET
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    """A tool that has to be called."""

    type: str
    name: str = ""


class Format(msgspec.Struct, frozen=True, omit_defaults=True):
    """The form of the answer's text."""

    type: str
    name: str | None = None
    schema: Raw | Unset = UNSET
    strict: bool | None = None
    description: str | None = None


class Text(msgspec.Struct, frozen=True):
    """What is wished of the answer's text."""

    format: Format | None = None
    verbosity: str | None = None


class Reasoning(msgspec.Struct, frozen=True):
    """How much is to be thought."""

    effort: str | None = None


class ResponseBody(msgspec.Struct, frozen=True):
    """The fields that decide something here; all others pass to the engine as they are written."""

    model: str
    input: str | list[Item]
    instructions: str | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    max_tool_calls: int | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    reasoning: Reasoning | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    stream: bool | None = None
    truncation: str | None = None
    include: list[str] | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Raw] | None = None
    prompt: dict[str, Raw] | None = None
    top_logprobs: int | None = None


_decoder = msgspec.json.Decoder(ResponseBody)


def read(body: bytes) -> ResponseBody | Refusal:
    """The body of a request that can be translated."""
    try:
        asked = _decoder.decode(body)
        body.decode()
    except UNREADABLE as error:
        return Refusal(status=400, problem=problem_of(error))
    return _stateful(asked) or _beyond(asked) or asked


class _Wish(msgspec.Struct, frozen=True):
    background: bool | None = None


_wish = msgspec.json.Decoder(_Wish)


def wants_background(body: bytes) -> bool:
    """Whether a response is to be made in the background, as far as that can be read."""
    try:
        return _wish.decode(body).background is True
    except UNREADABLE:
        return False


def _stateful(asked: ResponseBody) -> Refusal | None:
    """Refuses what needs a memory of conversations."""
    if asked.background and asked.store is False:
        message = "A response in the background is kept until it was read: leave store out, or send true."
        return invalid(message, "store", "invalid_value")
    for param in ("previous_response_id", "conversation"):
        if getattr(asked, param):
            message = (
                f"No conversations are kept here: leave {param} out, and send all of its turns as input."
            )
            return unsupported(param, message)
    return None


def _beyond(asked: ResponseBody) -> Refusal | None:
    """Refuses what no chat completion can do."""
    if asked.prompt is not None:
        return unsupported("prompt", f"A stored prompt {NOT_HERE}, and send its text as instructions.")
    if asked.top_logprobs:
        return unsupported("top_logprobs", f"top_logprobs {NOT_HERE}, or ask for a chat completion.")
    for at, wish in enumerate(asked.include or ()):
        if wish != ENCRYPTED:
            return unsupported(f"include[{at}]", f"{quoted(wish)} {NOT_HERE}.")
    if asked.truncation not in (None, "auto", "disabled"):
        return invalid(
            f"truncation is {quoted(asked.truncation)}; use auto or disabled.", "truncation", "invalid_value"
        )
    if asked.input == []:
        return invalid("input is empty: send a text, or at least one item.", "input", "empty_array")
    return None
