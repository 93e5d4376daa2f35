"""The cases of Open Responses' acceptance tests that concern HTTP, judged by the types made from its schema.

Run in the judges' environment by `tests/conformance/test_open_responses.py`.
"""

import json
import os
from typing import Any

import httpx
import pytest
from openresponses_types import types
from openresponses_types.types import ResponseResource
from pydantic import BaseModel

URL = f"{os.environ['OPENAI_BASE_URL']}/responses"
KEY = {"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
RED_DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO"
    "9TXL0Y4OHwAAAABJRU5ErkJggg=="
)
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather at a place.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}


def turn(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content, **more}


CALLS = {"input": [turn("user", "How is the weather?")], "tools": [WEATHER], "tool_choice": "required"}
SAYS: dict[str, dict[str, Any]] = {
    "basic-response": {"input": [turn("user", "Greet me.")]},
    "system-prompt": {"input": [turn("system", "You are a miller."), turn("user", "Greet me.")]},
    "multi-turn": {
        "input": [turn("user", "I am Ada."), turn("assistant", "Hello, Ada."), turn("user", "Who am I?")]
    },
    "assistant-phase": {
        "input": [
            turn("assistant", "I look it up.", phase="commentary"),
            turn("assistant", "It is four.", phase="final_answer"),
            turn("user", "Say it again."),
        ]
    },
    "image-input": {
        "input": [
            turn(
                "user",
                [
                    {"type": "input_text", "text": "What is it?"},
                    {"type": "input_image", "image_url": RED_DOT},
                ],
            )
        ]
    },
    "all-options": {
        "input": "Greet me.",
        "instructions": "Be brief.",
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "top_p": 0.5,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
        "max_output_tokens": 500,
        "max_tool_calls": 2,
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_object"}},
        "truncation": "auto",
        "safety_identifier": "x",
        "prompt_cache_key": "y",
        "tools": [{"type": "function", "name": "bare"}, WEATHER],
        "tool_choice": {"type": "function", "name": "get_weather"},
        "store": False,
    },
}


def model_of(kind: str) -> type[BaseModel]:
    """The type of an event."""
    for name, one in vars(types).items():
        if name.endswith("StreamingEvent") and kind in [*one.model_fields["type"].annotation]:
            return one
    raise AssertionError(f"no event of the schema is a {kind}")


def asked(**body: Any) -> dict[str, Any]:
    """A response, which has to fit the schema."""
    answer = httpx.post(URL, json={"model": os.environ["MODEL"], **body}, headers=KEY, timeout=60)
    assert answer.status_code == 200, answer.text
    ResponseResource.model_validate(answer.json())
    return answer.json()


def streamed(**body: Any) -> list[dict[str, Any]]:
    """The events of a response, each of which has to fit the schema."""
    answer = httpx.post(
        URL, json={"model": os.environ["MODEL"], "stream": True, **body}, headers=KEY, timeout=60
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = []
    for block in filter(None, answer.text.split("\n\n")):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        event = json.loads(lines["data"])
        assert lines["event"] == event["type"]
        model_of(event["type"]).model_validate(event)
        told.append(event)
    assert [event["sequence_number"] for event in told] == [*range(len(told))]
    return told


@pytest.mark.parametrize("name", SAYS)
def test_whole(name: str) -> None:
    told = asked(**SAYS[name])

    assert told["output"]
    assert told["status"] == "completed"


@pytest.mark.parametrize("name", SAYS)
def test_streamed(name: str) -> None:
    events = streamed(**SAYS[name])

    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["status"] == "completed"
    assert events[-1]["response"]["output"]


def test_tool_calling() -> None:
    told = asked(**CALLS)

    assert "function_call" in [item["type"] for item in told["output"]]


def test_tool_calling_streamed() -> None:
    events = streamed(**CALLS)
    kinds = [event["type"] for event in events]
    items = [(event["type"], event["item"]["type"]) for event in events if "item" in event]

    assert ("response.output_item.added", "function_call") in items
    assert ("response.output_item.done", "function_call") in items
    assert {"response.function_call_arguments.delta", "response.function_call_arguments.done"} <= {*kinds}


def test_in_the_background() -> None:
    first, *_, last = streamed(input="Greet me.", background=True)
    begun = asked(input="Greet me.", background=True)
    url = f"{URL}/{last['response']['id']}"
    read = httpx.get(url, headers=KEY, timeout=60).json()
    ResponseResource.model_validate(read)

    assert (first["response"]["status"], begun["status"]) == ("queued", "queued")
    assert read == last["response"]
    assert read["status"] == "completed"


def test_cut_short() -> None:
    told = asked(input="Greet me.", max_output_tokens=3)
    events = streamed(input="Greet me.", max_output_tokens=3)

    assert (told["status"], told["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert events[-1]["type"] == "response.incomplete"
