"""Tools: which are called, decided by what the user says and by nothing else, and what with.

With `auto` a tool is called when the last message is the user's and names the tool (also written with
spaces), or asks in these words: call or use a, the, all or every tool(s). Each mention is a call.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from events.words import Invalid
from functions.request.mistakes import quoted
from services.rehearsal.asked.checks import UnfitError
from services.rehearsal.said.draft import Choice, Token, ToolCall, tokens_of
from services.rehearsal.said.schema_instance import instance

MOST_CALLS = 16
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
ASKED_FOR = re.compile(
    r"\b(?:call|use) (?:(a|the|all|all the|both|both the|every|any|your) )?tools?\b", re.IGNORECASE
)
SEVERAL = ("all", "all the", "both", "both the", "every")


class Function(msgspec.Struct, frozen=True):
    """What can be called; `parameters` is the JSON schema of its arguments."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, frozen=True):
    """OpenAI's tool."""

    type: Literal["function"]
    function: Function


class Name(msgspec.Struct, frozen=True):
    """A function by its name."""

    name: str


class NamedTool(msgspec.Struct, frozen=True):
    """A tool by the name of its function."""

    function: Name
    type: Literal["function"] = "function"


class Allowed(msgspec.Struct, frozen=True):
    """Some of the tools."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class ToolChoice(msgspec.Struct, frozen=True):
    """One tool that is to be called, or some that may be."""

    type: Literal["function", "allowed_tools"]
    function: Name | None = None
    allowed_tools: Allowed | None = None


Choosing = Literal["none", "auto", "required"] | ToolChoice | None


def check_tools(tools: Sequence[Tool], choosing: Choosing) -> None:
    """Raises `UnfitError` where tools are misnamed, or the choice is none of them."""
    for number, tool in enumerate(tools):
        if not NAME.fullmatch(tool.function.name):
            raise UnfitError(
                f"The name {quoted(tool.function.name)} is not 1 to 64 letters, digits, _ and -.",
                f"tools[{number}].function.name",
            )
    if choosing in (None, "none"):
        return
    if not tools:
        raise UnfitError("tool_choice is only of use with tools.", "tool_choice")
    if isinstance(choosing, ToolChoice):
        _check_named(tools, choosing)


def _check_named(tools: Sequence[Tool], choosing: ToolChoice) -> None:
    known = {tool.function.name for tool in tools}
    if choosing.type == "function":
        if choosing.function is None:
            raise UnfitError("tool_choice names no function.", "tool_choice.function")
        named = [choosing.function.name]
    else:
        if choosing.allowed_tools is None or not choosing.allowed_tools.tools:
            raise UnfitError("tool_choice allows no tool.", "tool_choice.allowed_tools")
        named = [tool.function.name for tool in choosing.allowed_tools.tools]
    for name in named:
        if name not in known:
            raise UnfitError(f"tool_choice names {quoted(name)}, which is none of the tools.", "tool_choice")


def wanted(
    tools: Sequence[Tool], choosing: Choosing, *, said: str, parallel: bool = True
) -> tuple[Function, ...]:
    """The functions to call, in order; `said` is the last message, where that is the user's."""
    functions = [tool.function for tool in tools]
    mode = choosing if isinstance(choosing, str) else "auto"
    if isinstance(choosing, ToolChoice):
        if choosing.function is not None:
            return tuple(one for one in functions if one.name == choosing.function.name)[:1]
        if choosing.allowed_tools is not None:
            mode = choosing.allowed_tools.mode
            allowed = {tool.function.name for tool in choosing.allowed_tools.tools}
            functions = [one for one in functions if one.name in allowed]
    if mode == "none" or not functions:
        return ()
    asked = _asked_for(functions, said) or (functions[:1] if mode == "required" else [])
    return tuple(asked[: MOST_CALLS if parallel else 1])


def _asked_for(functions: Sequence[Function], said: str) -> list[Function]:
    """Those that are named, as often and in the order they are; else those that are asked for as such."""
    by_name = {_spaced(one.name): one for one in reversed(functions)}
    longest_first = sorted(by_name, key=len, reverse=True)
    names = "|".join(re.escape(name).replace(r"\ ", "[-_ ]") for name in longest_first)
    named = re.findall(rf"(?<![\w-])(?:{names})(?![\w-])", said, re.IGNORECASE)
    if named:
        return [by_name[_spaced(name)] for name in named]
    asked = ASKED_FOR.search(said)
    if asked is None:
        return []
    return list(functions if (asked[1] or "").lower() in SEVERAL else functions[:1])


def _spaced(name: str) -> str:
    return re.sub("[-_ ]", " ", name).casefold()


def calls_of(functions: Sequence[Function], dice: bytes) -> Choice:
    """Calls of these functions with made-up arguments. Raises `UnfitError` where there are none."""
    tokens: list[Token] = []
    made = []
    for number, function in enumerate(functions):
        name = f"call_{dice[:8].hex()}{number}"
        made.append(ToolCall(id=name, name=function.name, at=len(tokens)))
        arguments = _arguments(function, dice + bytes([number]))
        tokens += [b"", *tokens_of(msgspec.json.encode(arguments).decode())]
    return Choice(tokens=tuple(tokens), finish="tool_calls", calls=tuple(made))


def _arguments(function: Function, dice: bytes) -> Any:
    if not function.parameters:
        return {}
    # Whatever a schema leaves open, arguments are an object.
    schema = (
        function.parameters if "type" in function.parameters else {**function.parameters, "type": "object"}
    )
    try:
        return instance(schema, dice)
    except Invalid as error:
        raise UnfitError(f"{function.name}: {error}", "tools") from error
