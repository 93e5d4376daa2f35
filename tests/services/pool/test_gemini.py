"""Gemini's dialect in the shapes its users report, as OpenAI's clients have to hear them."""

import json
from typing import Any

import pytest

from events.words import Usage
from services.pool.gemini import Gemini
from services.pool.sse import MAX_EVENT, read_answer
from services.pool.stream import EventStream
from tests.support import wire


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    named = {"id": "g-1", "object": "chat.completion.chunk", "created": 7, "model": "gemini"}
    return wire.event({**named, "choices": [choice], **more})


def heard(*events: bytes, wants_usage: bool = False) -> tuple[list[Any], EventStream]:
    """What a client gets of a stream that comes in single bytes, as JSON."""
    dialect, stream = Gemini(), EventStream(wants_usage=wants_usage)
    out = b"".join(stream.feed(dialect.events(bytes([one]))) for one in b"".join(events))
    out += stream.feed(dialect.rest()) + stream.end()
    told = [event.removeprefix(b"data: ") for event in out.split(b"\n\n") if event]
    return [json.loads(one) for one in told if one != b"[DONE]"], stream


# --- requests


def test_the_limit_of_an_answer_is_told_once() -> None:
    both = b'{"model":"g","max_completion_tokens":5,"max_tokens":5}'
    assert {"model": "g", "max_completion_tokens": 5} == json.loads(Gemini().request(both))


@pytest.mark.parametrize(
    "body",
    [
        b'{"max_tokens": 5}',
        b'{"max_completion_tokens": 5}',
        b'{"messages": [{"role": "user", "content": "\\"max_completion_tokens\\""}], "max_tokens": 5}',
    ],
)
def test_a_limit_under_one_name_stays_as_it_was_written(body: bytes) -> None:
    assert body == Gemini().request(body)


# --- tool calls


def indices(events: list[Any]) -> list[int]:
    return [piece["index"] for event in events for piece in event["choices"][0]["delta"]["tool_calls"]]


def tool(
    name: str | None = None, id: str | None = None, arguments: str = "{}", **more: Any
) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"type": "function", "function": function} | ({"id": id} if id is not None else {}) | more


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([[tool("a", "1"), tool("b", "2")]], [0, 1]),
        ([[tool("a", "1")], [tool("a", "2")]], [0, 1]),
        ([[tool("a", "1")], [tool("a", "1")]], [0, 0]),  # in two pieces
        ([[tool("a", "1")], [tool(arguments="x")], [tool("b", "2")]], [0, 0, 1]),
        ([[tool("a", "")], [tool("b", "")]], [0, 1]),
        ([[tool("a", index=None)]], [0]),
        ([[tool("a", "1", index=3)], [tool("b", "2")]], [3, 4]),
        ([[tool(arguments="x")]], [0]),
    ],
)
def test_calls_of_tools_are_numbered(pieces: list[list[dict[str, Any]]], expected: list[int]) -> None:
    events, _ = heard(*[chunk({"tool_calls": one}) for one in pieces], wire.DONE)
    assert expected == indices(events)


def test_a_stream_that_calls_tools_says_so_at_its_end() -> None:
    events, stream = heard(chunk({"tool_calls": [tool("a", "1")]}), chunk({}, "stop"), wire.DONE)
    assert "tool_calls" == events[-1]["choices"][0]["finish_reason"]
    assert stream.done


@pytest.mark.parametrize("reason", ["stop", "length", None])
def test_any_other_end_stays(reason: str | None) -> None:
    events, _ = heard(chunk({"content": "a"}, reason), wire.DONE)
    assert reason == events[-1]["choices"][0]["finish_reason"]


def test_thought_signatures_pass() -> None:
    extra = {"google": {"thought_signature": "c2ln"}}
    events, _ = heard(chunk({"tool_calls": [tool("a", "1", extra_content=extra)]}), wire.DONE)
    assert extra == events[0]["choices"][0]["delta"]["tool_calls"][0]["extra_content"]


# --- usage

SO_FAR = (
    chunk({"content": "a"}, usage=wire.usage(5, 1)),
    chunk({"content": "b"}, usage=wire.usage(5, 4)),
)


def test_usage_is_told_once_to_who_wants_it() -> None:
    events, stream = heard(*SO_FAR, wire.DONE, wants_usage=True)
    assert [None, None, wire.usage(5, 4)] == [event.get("usage") for event in events]
    assert ([], "g-1", 7) == (events[-1]["choices"], events[-1]["id"], events[-1]["created"])
    assert Usage(input=5, output=4) == stream.usage


def test_usage_is_not_told_to_who_does_not() -> None:
    events, stream = heard(*SO_FAR, wire.DONE)
    assert [None, None] == [event.get("usage") for event in events]
    assert Usage(input=5, output=4) == stream.usage


def test_a_stream_that_breaks_off_has_told_its_usage_so_far() -> None:
    events, stream = heard(*SO_FAR)
    assert 2 == len(events)
    assert Usage(input=5, output=4) == stream.usage
    assert not stream.done


def test_tokens_thought_with_are_output() -> None:
    told = {"prompt_tokens": 20, "completion_tokens": 424, "total_tokens": 1016}
    expected = Usage(input=20, output=996, reasoning=572)
    assert expected == read_answer(wire.completion(usage=told))
    assert expected == heard(chunk({"content": "a"}, usage=told), wire.DONE)[1].usage


@pytest.mark.parametrize("total", [0, 3, None])
def test_a_total_that_is_too_small_takes_nothing_away(total: int | None) -> None:
    told = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": total}
    assert Usage(input=2, output=3) == read_answer(wire.completion(usage=told))


# --- what is no chunk


@pytest.mark.parametrize(
    "event",
    [
        b": a comment\n\n",
        b"data: nonsense\n\n",
        b'data: {"choices": 5}\n\n',
        b'data: {"choices": [5]}\n\n',
        b'data: {"choices": [{"delta": null}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [7]}}]}\n\n',
        b'data: [{"error": {"code": 500}}]\n\n',
        b"data: " + b"[" * 5000 + b"\n\n",
    ],
)
def test_what_is_not_understood_passes(event: bytes) -> None:
    assert event == Gemini().events(event)


def test_lines_may_end_otherwise() -> None:
    event = chunk({"content": "a"}, usage=wire.usage(1, 1)).replace(b"\n", b"\r\n")
    events, stream = heard(event, b"data: [DONE]\r\n\r\n", wants_usage=True)
    assert 2 == len(events)
    assert stream.done


def test_a_last_event_may_lack_its_end() -> None:
    events, stream = heard(*SO_FAR, b"data: [DONE]")
    assert stream.done
    assert Usage(input=5, output=4) == stream.usage
    assert 2 == len(events)


def test_an_event_without_an_end_is_not_kept() -> None:
    stream = EventStream(wants_usage=False)
    with pytest.raises(ValueError, match="longer than"):
        stream.feed(Gemini().events(b"data: " + b"x" * MAX_EVENT))


# --- errors


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"[5]",
        b"{}",
        b'{"error": "no"}',
        b'[{"error": {"details": [{"retryDelay": "-3s"}]}}]',
        b'[{"error": {"details": [{"retryDelay": "soon"}]}}]',
        b'[{"error": {"details": [{"retryDelay": 3}]}}]',
        b"[" * 5000,
    ],
)
def test_an_error_that_does_not_say_how_long_to_wait(body: bytes) -> None:
    assert {b"a": b"b"} == Gemini().refused({b"a": b"b"}, body)


def test_a_header_that_says_so_wins() -> None:
    headers = {b"Retry-After": b"3"}
    body = b'{"error": {"details": [{"retryDelay": "9s"}]}}'
    assert headers == Gemini().refused(headers, body)
    assert b"10" == Gemini().refused({}, body)[b"retry-after"]
