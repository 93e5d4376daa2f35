from typing import Any

import msgspec
import pytest

from services.rehearsal.asked.checks import UnfitError
from services.rehearsal.asked.tools import Choosing, Tool, calls_of, check_tools, wanted
from services.rehearsal.said.draft import Choice

DICE = bytes(64)


def tools(*names: str, **parameters: Any) -> list[Tool]:
    told = [{"type": "function", "function": {"name": name, "parameters": parameters}} for name in names]
    return msgspec.convert(told, list[Tool])


def choosing(told: object) -> Choosing:
    return msgspec.convert(told, Choosing)  # type: ignore[call-overload, no-any-return]


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {
        "type": "allowed_tools",
        "allowed_tools": {"mode": mode, "tools": [named(name) for name in names]},
    }


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("What is the weather?", []),
        ("get_weather, please.", ["get_weather"]),
        ("GET WEATHER in Paris!", ["get_weather"]),
        ("forget_weather_reports", []),
        ("Call add and then get-weather.", ["add", "get_weather"]),
        ("get_weather in Paris and get_weather in Rome", ["get_weather", "get_weather"]),
        ("Please use a tool.", ["get_weather"]),
        ("Use tools.", ["get_weather"]),
        ("Call all the tools!", ["get_weather", "add"]),
        ("A tool is a fine thing.", []),
        ("add " * 99, ["add"] * 16),
        ("", []),
    ],
)
def test_auto_calls_what_the_user_names_or_asks_for(said: str, expected: list[str]) -> None:
    known = tools("get_weather", "add")
    assert expected == [function.name for function in wanted(known, None, said=said)]
    assert expected == [function.name for function in wanted(known, "auto", said=said)]
    assert expected[:1] == [function.name for function in wanted(known, "auto", said=said, parallel=False)]


@pytest.mark.parametrize(
    ("choice", "said", "expected"),
    [
        ("none", "Call add.", []),
        ("required", "Hello.", ["get_weather"]),
        ("required", "Call add.", ["add"]),
        (named("add"), "Call get_weather.", ["add"]),
        (allowed("auto", "add"), "Call get_weather.", []),
        (allowed("auto", "add"), "Call add.", ["add"]),
        (allowed("required", "add"), "Call get_weather.", ["add"]),
    ],
)
def test_a_choice_decides_what_is_called(choice: object, said: str, expected: list[str]) -> None:
    known = tools("get_weather", "add")
    check_tools(known, choosing(choice))
    assert expected == [function.name for function in wanted(known, choosing(choice), said=said)]


@pytest.mark.parametrize(
    ("names", "choice", "param"),
    [
        (["say hello"], None, "tools[0].function.name"),
        (["ok", ""], None, "tools[1].function.name"),
        (["x" * 65], None, "tools[0].function.name"),
        ([], "required", "tool_choice"),
        (["add"], named("multiply"), "tool_choice"),
        (["add"], allowed("auto", "multiply"), "tool_choice"),
        (["add"], {"type": "function"}, "tool_choice.function"),
        (["add"], {"type": "allowed_tools"}, "tool_choice.allowed_tools"),
    ],
)
def test_what_cannot_be_called_is_refused(names: list[str], choice: object, param: str) -> None:
    with pytest.raises(UnfitError) as refused:
        check_tools(tools(*names), choosing(choice))
    assert param == refused.value.param


def said_with(choice: Choice, number: int) -> Any:
    return msgspec.json.decode(msgspec.json.decode(b'"%b"' % b"".join(choice.arguments(number))))


def test_calls_have_ids_of_their_own_and_arguments_of_their_schema() -> None:
    schema = {"properties": {"city": {"type": "string"}, "days": {"const": 3}}, "required": ["city", "days"]}
    functions = wanted(tools("weather", "rain", **schema), None, said="weather, rain and weather")
    made = calls_of(functions, DICE)
    assert ["weather", "rain", "weather"] == [call.name for call in made.calls]
    assert 3 == len({call.id for call in made.calls})
    for number in range(3):
        arguments = said_with(made, number)
        assert (3, str) == (arguments["days"], type(arguments["city"]))
    assert made == calls_of(functions, DICE)
    assert made != calls_of(functions, bytes([1]) * 64)


def test_a_function_without_parameters_gets_an_empty_object() -> None:
    assert {} == said_with(calls_of(wanted(tools("f"), "required", said=""), DICE), 0)
