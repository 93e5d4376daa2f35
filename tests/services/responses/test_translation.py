"""What an engine is asked for a response, and what is refused with its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.words import Refusal
from services.responses.translation import Asked, translate

TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True}
SCHEMA = {"type": "json_schema", "name": "city", "schema": {"type": "object"}, "strict": True}


def judged(body: bytes) -> Asked | Refusal:
    return translate(body, id="resp_1", created_at=1)


def chat(**fields: Any) -> dict[str, Any]:
    asked = judged(json.dumps({"model": "gemma", "input": "Hi."} | fields).encode())
    assert isinstance(asked, Asked), asked
    made: dict[str, Any] = json.loads(asked.body)
    return made


def messages(*items: object, **fields: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = chat(input=items, **fields)["messages"]
    return made


def test_a_text_is_what_the_user_says() -> None:
    assert {"model": "gemma", "messages": [{"role": "user", "content": "Hi."}]} == chat()


def test_instructions_come_first_and_developers_are_the_system() -> None:
    said = messages({"role": "developer", "content": "Be kind."}, instructions="Be brief.")

    assert [{"role": "system", "content": text} for text in ("Be brief.", "Be kind.")] == said


FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tools": (
        {"tools": [TOOL]},
        {
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "look", "parameters": {"type": "object"}, "strict": True},
                }
            ]
        },
    ),
    "a word": ({"tools": [TOOL], "tool_choice": "required"}, {"tool_choice": "required"}),
    "a word without tools": ({"tool_choice": "auto"}, {}),
    "a function": (
        {"tool_choice": {"type": "function", "name": "look"}},
        {"tool_choice": {"type": "function", "function": {"name": "look"}}},
    ),
    "a schema": (
        {"text": {"format": SCHEMA}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "city", "schema": {"type": "object"}, "strict": True},
            }
        },
    ),
    "an object": (
        {"text": {"format": {"type": "json_object"}}},
        {"response_format": {"type": "json_object"}},
    ),
    "a text": ({"text": {"format": {"type": "text"}}}, {}),
    "a limit": ({"max_output_tokens": 9}, {"max_completion_tokens": 9}),
    "an effort": ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
    "a stream": ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    "sampling": ({"temperature": 0.5, "top_p": 0.25}, {"temperature": 0.5, "top_p": 0.25}),
    "penalties": (
        {"presence_penalty": 0.5, "frequency_penalty": -1},
        {"presence_penalty": 0.5, "frequency_penalty": -1},
    ),
    "names for the engine": (
        {"prompt_cache_key": "a", "safety_identifier": "b"},
        {"prompt_cache_key": "a", "safety_identifier": "b"},
    ),
    "what nobody counts": ({"max_tool_calls": 3}, {}),
    "one call at a time": ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
    "an engine's own": ({"seed": 7, "top_k": [1]}, {"seed": 7, "top_k": [1]}),
    "what is not for engines": ({"metadata": {"a": "b"}, "truncation": "auto", "store": False}, {}),
    "nothing": ({"temperature": None, "tools": None, "text": None, "reasoning": None, "stream": None}, {}),
}


@pytest.mark.parametrize(("asked", "expected"), FIELDS.values(), ids=FIELDS)
def test_fields_have_their_names_in_a_chat(asked: dict[str, Any], expected: dict[str, Any]) -> None:
    told = chat(**asked)

    assert expected == {
        name: value for name, value in told.items() if name not in ("model", "messages") and name in expected
    }
    assert told.keys() - {"model", "messages", "tools"} <= expected.keys()


def test_numbers_keep_their_digits() -> None:
    asked = judged(b'{"model":"gemma","input":"x","temperature":0.10,"seed":12345678901234567890123}')

    assert isinstance(asked, Asked)
    assert b'"temperature":0.10' in asked.body
    assert b'"seed":12345678901234567890123' in asked.body


def test_parts_of_text_are_one_text_and_images_stay_parts() -> None:
    texts = [{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b", "annotations": []}]
    image = {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "low"}
    said = messages({"role": "user", "content": texts}, {"role": "user", "content": [*texts, image]})

    assert "ab" == said[0]["content"]
    assert [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "low"}},
    ] == said[1]["content"]


def test_calls_and_the_text_before_them_are_one_message() -> None:
    calls = [
        {
            "type": "function_call",
            "call_id": name,
            "name": "look",
            "arguments": '{"at":1}',
            "id": f"fc_{name}",
        }
        for name in ("a", "b")
    ]
    said = messages(
        {"role": "user", "content": "Look."},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "id": "msg_1", "content": "I look."},
        *calls,
        {"type": "function_call_output", "call_id": "a", "output": "Sun."},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "Rain."}]},
        calls[0],
    )

    function = {"name": "look", "arguments": '{"at":1}'}
    called = [{"id": name, "type": "function", "function": function} for name in ("a", "b")]
    assert [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": "I look.", "tool_calls": called},
        {"role": "tool", "content": "Sun.", "tool_call_id": "a"},
        {"role": "tool", "content": "Rain.", "tool_call_id": "b"},
        {"role": "assistant", "content": None, "tool_calls": called[:1]},
    ] == said


UNSUPPORTED, INVALID, MISSING = "unsupported_parameter", "invalid_value", "missing_required_parameter"
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "an empty list": ({"input": []}, "empty_array", "input"),
    "a number": ({"input": 5}, "invalid_type", "input"),
    "an item by its id": ({"input": [{"type": "item_reference", "id": "x"}]}, UNSUPPORTED, "input[0].type"),
    "a role": ({"input": [{"role": "boss", "content": "x"}]}, INVALID, "input[0].role"),
    "a role that is no text": ({"input": [{"role": 5}]}, "invalid_type", "input[0].role"),
    "no content": ({"input": [{"role": "user"}]}, MISSING, "input[0].content"),
    "a part without words": (
        {"input": [{"role": "user", "content": [{"type": "input_text"}]}]},
        MISSING,
        "input[0].content[0].text",
    ),
    "a refusal without words": (
        {"input": [{"role": "assistant", "content": [{"type": "refusal", "text": "No."}]}]},
        MISSING,
        "input[0].content[0].refusal",
    ),
    "a file": (
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
        UNSUPPORTED,
        "input[0].content[0]",
    ),
    "an image by its id": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "x"}]}]},
        UNSUPPORTED,
        "input[0].content[0]",
    ),
    "a call of nothing": ({"input": [{"type": "function_call", "call_id": "x"}]}, MISSING, "input[0].name"),
    "an output of nothing": (
        {"input": [{"type": "function_call_output", "output": "x"}]},
        MISSING,
        "input[0].call_id",
    ),
    "a tool": ({"tools": [{"type": "web_search"}]}, UNSUPPORTED, "tools[0].type"),
    "a nameless tool": ({"tools": [{"type": "function"}]}, MISSING, "tools[0].name"),
    "a choice": ({"tool_choice": "always"}, INVALID, "tool_choice"),
    "a chosen search": ({"tool_choice": {"type": "web_search"}}, UNSUPPORTED, "tool_choice"),
    "a form": ({"text": {"format": {"type": "grammar"}}}, INVALID, "text.format.type"),
    "a nameless schema": ({"text": {"format": SCHEMA | {"name": None}}}, MISSING, "text.format.name"),
    "no schema": ({"text": {"format": {"type": "json_schema", "name": "x"}}}, MISSING, "text.format.schema"),
    "truncation": ({"truncation": "much"}, INVALID, "truncation"),
    "odds": ({"top_logprobs": 3}, UNSUPPORTED, "top_logprobs"),
    "a limit": ({"max_output_tokens": "many"}, "invalid_type", "max_output_tokens"),
}


@pytest.mark.parametrize(("fields", "code", "param"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_asked_is_refused_with_its_place(
    fields: dict[str, Any], code: str, param: str
) -> None:
    refusal = judged(json.dumps({"model": "gemma", "input": "Hi."} | fields).encode())

    assert isinstance(refusal, Refusal)
    assert (400, code, param) == (refusal.status, refusal.problem.code, refusal.problem.param)
    assert refusal.problem.message.endswith(".")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model":"\xff"}', b'{"input":' + b"[" * 5000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    assert isinstance(judged(body), Refusal)


@given(st.binary())
def test_any_bytes_have_a_verdict(body: bytes) -> None:
    assert isinstance(judged(body), Asked | Refusal)
