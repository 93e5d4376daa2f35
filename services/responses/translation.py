"""A response's request as the chat completion that answers it."""

from collections.abc import Sequence

import msgspec

from events.config import Config
from events.requests import CHAT
from events.words import Refusal
from functions.request.admission import Admitted, admit, invalid, unsupported
from functions.request.endpoints import Endpoint
from functions.request.mistakes import quoted
from services.responses.asked import NOT_HERE, Format, ResponseBody, Tool, ToolChoice, read
from services.responses.messages import Message, messages_of
from services.responses.told import Response, echo

AS_CHATS = Endpoint(path=CHAT, admit=admit, prompt="input", cached=True, queued=False)
CHOICES = ("auto", "none", "required")
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
# What is translated, or concerns only what is not done here; all else passes as it is written.
OWN = frozenset(ResponseBody.__struct_fields__) | {"stream_options"}
SAME = (
    *("model", "temperature", "top_p", "presence_penalty", "frequency_penalty", "parallel_tool_calls"),
    *("user", "safety_identifier", "prompt_cache_key", "stream"),
)


class Asked(msgspec.Struct, frozen=True):
    """`body`: of the chat completion. `response`: as it is before anything was answered. `stream`: whether
    its events are wanted.
    """

    body: bytes
    response: Response
    stream: bool = False


def admit_as_chat(asked: Asked, config: Config) -> Admitted | Refusal:
    """The verdict on the chat; a prompt that is blamed has its name here."""
    verdict = AS_CHATS.admit(asked.body, config)
    return AS_CHATS.blame(verdict) if isinstance(verdict, Refusal) else verdict


class _Function(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    description: str | None = None
    parameters: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    strict: bool | None = None


def translate(body: bytes, *, id: str, created_at: int) -> Asked | Refusal:
    """Reads a request. Raises nothing, whatever the bytes are."""
    asked = read(body)
    if isinstance(asked, Refusal):
        return asked
    messages = messages_of(asked.input, asked.instructions)
    refusal = messages if isinstance(messages, Refusal) else _tools_refused(asked) or _format_refused(asked)
    if isinstance(messages, Refusal) or refusal is not None:
        assert refusal is not None
        return refusal
    fields = _fields.decode(body)
    chat = {name: raw for name, raw in fields.items() if name not in OWN}
    chat |= {name: fields[name] for name in SAME if getattr(asked, name) is not None}
    chat |= {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in _made(asked, messages).items()}
    response = echo(asked, id, created_at)
    return Asked(body=msgspec.json.encode(chat), response=response, stream=asked.stream is True)


def _made(asked: ResponseBody, messages: Sequence[Message]) -> dict[str, object]:
    """The fields of the chat that have another form there."""
    made: dict[str, object] = {"messages": messages}
    if asked.tools:
        made["tools"] = [{"type": "function", "function": _function(tool)} for tool in asked.tools]
    if isinstance(asked.tool_choice, ToolChoice):
        made["tool_choice"] = {"type": "function", "function": {"name": asked.tool_choice.name}}
    elif asked.tool_choice is not None and asked.tools:
        made["tool_choice"] = asked.tool_choice
    if asked.text is not None and asked.text.format is not None and asked.text.format.type != "text":
        made["response_format"] = _response_format(asked.text.format)
    if asked.text is not None and asked.text.verbosity is not None:
        made["verbosity"] = asked.text.verbosity
    if asked.max_output_tokens is not None:
        made["max_completion_tokens"] = asked.max_output_tokens
    if asked.reasoning is not None and asked.reasoning.effort is not None:
        made["reasoning_effort"] = asked.reasoning.effort
    if asked.stream:
        made["stream_options"] = {"include_usage": True}
    return made


def _function(tool: Tool) -> _Function:
    return _Function(
        name=tool.name, description=tool.description, parameters=tool.parameters, strict=tool.strict
    )


class _Schema(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str | None
    schema: msgspec.Raw | msgspec.UnsetType
    strict: bool | None = None
    description: str | None = None


def _response_format(form: Format) -> dict[str, object]:
    if form.type == "json_object":
        return {"type": form.type}
    schema = _Schema(form.name, form.schema, form.strict, form.description)
    return {"type": form.type, "json_schema": schema}


def _tools_refused(asked: ResponseBody) -> Refusal | None:
    for at, tool in enumerate(asked.tools or ()):
        if tool.type != "function":
            message = f"A tool of type {quoted(tool.type)} {NOT_HERE}; only functions are."
            return unsupported(f"tools[{at}].type", message)
        if not tool.name:
            param = f"tools[{at}].name"
            return invalid(f"{param} is required.", param, "missing_required_parameter")
    choice = asked.tool_choice
    if isinstance(choice, ToolChoice) and not (choice.type == "function" and choice.name):
        return unsupported("tool_choice", f"This tool_choice {NOT_HERE}, or name a function.")
    if isinstance(choice, str) and choice not in CHOICES:
        return invalid(
            f"tool_choice is {quoted(choice)}; use {', '.join(CHOICES)}.", "tool_choice", "invalid_value"
        )
    return None


def _format_refused(asked: ResponseBody) -> Refusal | None:
    form = asked.text.format if asked.text is not None else None
    if form is None or form.type in ("text", "json_object"):
        return None
    if form.type != "json_schema":
        message = f"text.format.type is {quoted(form.type)}; use text, json_object or json_schema."
        return invalid(message, "text.format.type", "invalid_value")
    for name in ("name", "schema"):
        if getattr(form, name) in (None, msgspec.UNSET):
            param = f"text.format.{name}"
            return invalid(f"{param} is required.", param, "missing_required_parameter")
    return None
