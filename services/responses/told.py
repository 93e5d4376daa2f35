"""A response as callers are told it, and the response that a whole chat completion makes."""

from typing import Literal

import msgspec
from msgspec.structs import replace

from services.pool.sse import WireUsage
from services.responses.asked import Format, Reasoning, ResponseBody, Text, Tool, ToolChoice

Status = Literal["in_progress", "completed", "incomplete", "failed"]
Stage = Literal["queued", "cancelled"] | Status
NULL = msgspec.Raw(b"null")
REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


class OutputText(msgspec.Struct, frozen=True):
    """A text that was said."""

    text: str
    type: str = "output_text"
    annotations: tuple[()] = ()
    logprobs: tuple[()] = ()


class OutputRefusal(msgspec.Struct, frozen=True):
    """A refusal that was said."""

    refusal: str
    type: str = "refusal"


class OutputMessage(msgspec.Struct, frozen=True):
    """What was said."""

    id: str
    status: Status
    content: tuple[OutputText | OutputRefusal, ...]
    type: str = "message"
    role: str = "assistant"


class FunctionCall(msgspec.Struct, frozen=True):
    """A function that is to be called."""

    id: str
    status: Status
    call_id: str
    name: str
    arguments: str
    type: str = "function_call"


Output = OutputMessage | FunctionCall


class Incomplete(msgspec.Struct, frozen=True):
    """Why an answer ends early."""

    reason: str


class Failed(msgspec.Struct, frozen=True):
    """Why there is no whole answer."""

    code: str
    message: str


class EchoedReasoning(msgspec.Struct, frozen=True):
    """As it was asked; thoughts are not summed up."""

    effort: str | None = None
    summary: str | None = None


class EchoedText(msgspec.Struct, frozen=True):
    """As it was asked."""

    format: Format


class EchoedTool(msgspec.Struct, frozen=True):
    """As it was asked, with what was left out."""

    type: str
    name: str
    description: str | None
    parameters: msgspec.Raw
    strict: bool | None


class _Cached(msgspec.Struct, frozen=True):
    cached_tokens: int


class _Reasoned(msgspec.Struct, frozen=True):
    reasoning_tokens: int


class ResponseUsage(msgspec.Struct, frozen=True):
    """The tokens, by their names here."""

    input_tokens: int
    input_tokens_details: _Cached
    output_tokens: int
    output_tokens_details: _Reasoned
    total_tokens: int


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's response object."""

    id: str
    object: str = "response"
    created_at: int
    status: Stage = "in_progress"
    background: bool = False
    completed_at: int | None = None
    error: Failed | None = None
    frequency_penalty: float
    incomplete_details: Incomplete | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str]
    model: str
    output: tuple[Output, ...] = ()
    parallel_tool_calls: bool
    presence_penalty: float
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    reasoning: EchoedReasoning
    safety_identifier: str | None = None
    service_tier: str = "default"
    store: bool = False
    temperature: float
    text: EchoedText
    tool_choice: str | ToolChoice
    tools: list[EchoedTool]
    top_logprobs: int = 0
    top_p: float
    truncation: str
    usage: ResponseUsage | None = None
    user: str | None = None


def echo(asked: ResponseBody, id: str, created_at: int) -> Response:
    """The response before anything was answered: what was asked, with OpenAI's defaults."""
    text, reasoning = asked.text or Text(), asked.reasoning or Reasoning()
    background = asked.background is True
    return Response(
        id=id,
        created_at=created_at,
        background=background,
        store=background or asked.store is True,
        frequency_penalty=asked.frequency_penalty or 0.0,
        instructions=asked.instructions,
        max_output_tokens=asked.max_output_tokens,
        max_tool_calls=asked.max_tool_calls,
        metadata=asked.metadata or {},
        model=asked.model,
        parallel_tool_calls=asked.parallel_tool_calls is not False,
        presence_penalty=asked.presence_penalty or 0.0,
        prompt_cache_key=asked.prompt_cache_key,
        safety_identifier=asked.safety_identifier,
        reasoning=EchoedReasoning(effort=reasoning.effort),
        temperature=1.0 if asked.temperature is None else asked.temperature,
        text=EchoedText(format=text.format or Format(type="text")),
        tool_choice=asked.tool_choice or "auto",
        tools=[_tool(tool) for tool in asked.tools or ()],
        top_p=1.0 if asked.top_p is None else asked.top_p,
        truncation=asked.truncation or "disabled",
        user=asked.user,
    )


def _tool(tool: Tool) -> EchoedTool:
    parameters = NULL if isinstance(tool.parameters, msgspec.UnsetType) else tool.parameters
    return EchoedTool(tool.type, tool.name, tool.description, parameters, tool.strict)


def usage_of(told: msgspec.Raw) -> ResponseUsage | None:
    """The engine's usage by its names here; None where it told none, or one we do not know."""
    try:
        usage = _usage.decode(told).usage()
    except (ValueError, RecursionError):
        return None
    return ResponseUsage(
        input_tokens=usage.input,
        input_tokens_details=_Cached(usage.cached),
        output_tokens=usage.output,
        output_tokens_details=_Reasoned(usage.reasoning),
        total_tokens=usage.input + usage.output,
    )


def ended(
    response: Response, output: tuple[Output, ...], finish: str | None, usage: ResponseUsage | None, at: int
) -> Response:
    """The response once all was said; `finish`: why the engine stopped, `at`: in seconds since 1970."""
    reason = REASONS.get(finish or "")
    status: Status = "incomplete" if reason else "completed"
    details = Incomplete(reason) if reason else None
    return replace(
        response,
        status=status,
        completed_at=None if reason else at,
        incomplete_details=details,
        output=output,
        usage=usage,
    )


def item_id(kind: str, response: Response, at: int) -> str:
    """The id of an output item: the same as often as it is asked for."""
    return f"{kind}_{response.id.partition('_')[2]}{at:02d}"


_usage = msgspec.json.Decoder(WireUsage)


class _Function(msgspec.Struct):
    name: str = ""
    arguments: str = ""


class _Call(msgspec.Struct):
    id: str = ""
    function: _Function = msgspec.field(default_factory=_Function)


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: msgspec.Raw = NULL


_completion = msgspec.json.Decoder(_Completion)


def response_of(response: Response, completion: bytes, at: int) -> Response:
    """The response a chat completion makes that came `at` (seconds since 1970). Raises `ValueError` where it
    has a shape we do not know.
    """
    try:
        told = _completion.decode(completion)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not told.choices:
        raise ValueError("it has no choices")
    choice = told.choices[0]
    status: Status = "incomplete" if choice.finish_reason in REASONS else "completed"
    output = _output(response, choice.message, status)
    return ended(response, output, choice.finish_reason, usage_of(told.usage), at)


def _output(response: Response, message: _Message, status: Status) -> tuple[Output, ...]:
    output: list[Output] = []
    said: list[OutputText | OutputRefusal] = []
    if message.content:
        said.append(OutputText(message.content))
    if message.refusal:
        said.append(OutputRefusal(message.refusal))
    if said:
        output.append(OutputMessage(id=item_id("msg", response, 0), status=status, content=tuple(said)))
    for call in message.tool_calls or ():
        made = FunctionCall(
            id=item_id("fc", response, len(output)),
            status=status,
            call_id=call.id or item_id("call", response, len(output)),
            name=call.function.name,
            arguments=call.function.arguments,
        )
        output.append(made)
    return tuple(output)
