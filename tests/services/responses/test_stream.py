"""The events of a response: in order, numbered, and with every item told to its end."""

import json
from typing import Any

import msgspec
import pytest

from services.responses.stream import ResponseStream
from services.responses.told import response_of
from services.responses.translation import Asked, translate
from tests.support.wire import DONE, delta, event, problem, usage, usage_event

TEXT = ["added", "content_part.added", "output_text.delta"]


def asked() -> Asked:
    made = translate(b'{"model":"gemma","input":"Hi."}', id="resp_ab", created_at=1)
    assert isinstance(made, Asked)
    return made


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """What events say; each is named for its type."""
    pairs = [part.partition(b"\ndata: ") for part in stream.split(b"\n\n") if part]
    assert [name for name, _, _ in pairs] == [
        f"event: {json.loads(said)['type']}".encode() for _, _, said in pairs
    ]
    return [json.loads(said) for _, _, said in pairs]


def told(*pieces: bytes) -> list[dict[str, Any]]:
    stream = ResponseStream(asked().response, lambda: 5)
    return events_of(stream.begin() + b"".join(map(stream.feed, pieces)))


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [one["type"].removeprefix("response.").removeprefix("output_item.") for one in events]


def calls(*changes: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"tool_calls": list(changes)}, "finish_reason": finish}
    return event({"choices": [choice]})


def call(index: int, arguments: str, name: str | None = None) -> dict[str, Any]:
    named = {"id": f"call_{name}", "type": "function"} if name else {}
    return {"index": index, **named, "function": {"name": name, "arguments": arguments}}


def finish(reason: str) -> bytes:
    return event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


def test_a_text_is_told_from_its_beginning_to_its_end() -> None:
    events = told(delta(""), delta("Hel"), delta("lo."), finish("stop"), usage_event(7, 3), DONE)

    assert [
        *("created", "in_progress", *TEXT, "output_text.delta", "output_text.done", "content_part.done"),
        *("done", "completed"),
    ] == kinds(events)
    assert list(range(len(events))) == [one["sequence_number"] for one in events]
    last = events[-1]["response"]
    assert "Hello." == events[-4]["text"] == last["output"][0]["content"][0]["text"]
    assert events[-2]["item"] == last["output"][0]
    assert ("completed", 7, 3, 10) == (
        last["status"],
        *(last["usage"][name] for name in ("input_tokens", "output_tokens", "total_tokens")),
    )
    assert 1 == len({one["item_id"] for one in events if "item_id" in one})


def test_a_text_ends_where_a_call_begins_and_calls_may_be_interleaved() -> None:
    events = told(
        delta("I look."),
        calls(call(0, "", "a")),
        calls(call(1, '{"x":', "b"), call(0, '{"y":1')),
        calls(call(1, "2}"), call(0, "}")),
        finish("tool_calls"),
        DONE,
    )
    output = events[-1]["response"]["output"]

    assert ["message", "function_call", "function_call"] == [item["type"] for item in output]
    assert [("call_a", "a", '{"y":1}'), ("call_b", "b", '{"x":2}')] == [
        (item["call_id"], item["name"], item["arguments"]) for item in output[1:]
    ]
    assert ["completed"] * 3 == [item["status"] for item in output]
    done = [one for one in events if one["type"] == "response.output_item.done"]
    assert output == [one["item"] for one in done]
    assert [0, 1, 2] == [one["output_index"] for one in done]
    assert kinds(events).index("done") < kinds(events).index("function_call_arguments.delta")


@pytest.mark.parametrize(
    ("reason", "details"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_was_cut_is_incomplete(reason: str, details: str) -> None:
    last = told(delta("Hel"), finish(reason), DONE)[-1]

    assert "response.incomplete" == last["type"]
    assert {"reason": details} == last["response"]["incomplete_details"]
    assert "incomplete" == last["response"]["output"][0]["status"]


def test_an_error_in_band_fails_the_response_and_ends_it() -> None:
    events = told(
        delta("Hel"), b"data: " + problem("It broke off.", code="engine_died") + b"\n\n", delta("x"), DONE
    )
    last = events[-1]

    assert ("response.failed", "failed") == (last["type"], last["response"]["status"])
    assert {"code": "engine_died", "message": "It broke off."} == last["response"]["error"]
    assert "Hel" == last["response"]["output"][0]["content"][0]["text"]


@pytest.mark.parametrize("odd", [b"data: {\n\n", b"data: []\n\n", b'data: {"choices": 5}\n\n'])
def test_what_cannot_be_read_fails_the_response(odd: bytes) -> None:
    assert "response.failed" == told(delta("a"), odd, DONE)[-1]["type"]


def test_comments_pass_and_other_choices_do_not() -> None:
    stream = ResponseStream(asked().response, lambda: 5)
    other = event({"choices": [{"index": 1, "delta": {"content": "x"}}]})

    assert b": keep-alive\n\n" == stream.feed(b": keep-alive\n\n")
    assert b"" == stream.feed(other)


def test_a_usage_of_another_form_is_none() -> None:
    odd = event({"choices": [], "usage": {"prompt_tokens": "many"}})

    assert told(delta("a"), odd, DONE)[-1]["response"]["usage"] is None


@pytest.mark.parametrize(("reason", "at"), [("stop", 5), ("length", None)])
def test_what_is_complete_says_since_when(reason: str, at: int | None) -> None:
    first, *_, last = told(delta("a"), finish(reason), DONE)

    assert (None, at) == (first["response"]["completed_at"], last["response"]["completed_at"])


def test_an_answer_of_nothing_is_complete() -> None:
    last = told(finish("stop"), DONE)[-1]

    assert ("response.completed", []) == (last["type"], last["response"]["output"])


MESSAGE = {
    "content": "I look.",
    "tool_calls": [{"id": "call_a", "type": "function", "function": {"name": "a", "arguments": "{}"}}],
}


def test_the_stream_and_the_whole_answer_make_the_same_response() -> None:
    choice = {"index": 0, "message": MESSAGE, "finish_reason": "tool_calls"}
    completion = json.dumps({"choices": [choice], "usage": usage(7, 3)}).encode()
    whole = response_of(asked().response, completion, 5)
    pieces = (delta("I look."), calls(call(0, "{}", "a")), finish("tool_calls"), usage_event(7, 3), DONE)
    stream = ResponseStream(asked().response, lambda: 5)
    streamed = events_of(stream.begin() + b"".join(map(stream.feed, pieces)))[-1]["response"]

    assert json.loads(msgspec.json.encode(whole)) == streamed


@pytest.mark.parametrize(
    "body", [b"{}", b'{"choices": []}', b'{"choices": [{"message": 5}]}', b'{"choices":' + b"[" * 5000]
)
def test_an_answer_of_another_form_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        response_of(asked().response, body, 5)
