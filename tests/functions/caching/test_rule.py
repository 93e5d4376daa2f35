import json
from datetime import timedelta
from typing import Any

import pytest

from events.config import Model
from functions.caching.directives import FOREVER_S, Directives, directives_of
from functions.caching.key import fields_of
from functions.caching.rule import LARGEST, may_ask, may_keep, ttl_of
from tests.support.wire import DONE, chat, completion, delta, event, usage_event

END = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})


@pytest.mark.parametrize(
    "asked",
    [
        {"temperature": 0},
        {"temperature": 0.0},
        {"temperature": -0.0},
        {"seed": 7},
        {"seed": 0, "temperature": 1},
    ],
    ids=json.dumps,
)
def test_what_would_come_out_the_same_again_may_be_asked_for(asked: dict[str, Any]) -> None:
    assert may_ask(fields_of(chat(**asked)), wished=False)


@pytest.mark.parametrize(
    "asked",
    [{}, {"temperature": 0.01}, {"temperature": None}, {"temperature": "0"}, {"seed": None}],
    ids=json.dumps,
)
def test_what_is_left_to_chance_may_be_asked_for_by_wish_only(asked: dict[str, Any]) -> None:
    assert not may_ask(fields_of(chat(**asked)), wished=False)
    assert may_ask(fields_of(chat(**asked)), wished=True)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "tool", "content": "3", "tool_call_id": "1"},
        {"role": "function", "name": "add", "content": "3"},
        {"role": "assistant", "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "function_call": {"name": "add"}},
    ],
    ids=json.dumps,
)
def test_what_tools_gave_is_never_asked_for(message: dict[str, Any]) -> None:
    body = chat(temperature=0, messages=[{"role": "user", "content": "1 + 2?"}, message])
    assert not may_ask(fields_of(body), wished=True)


def test_a_message_without_calls_may_say_so() -> None:
    quiet = {"role": "assistant", "content": "3", "tool_calls": [], "function_call": None}
    assert may_ask(fields_of(chat(seed=1, messages=[quiet])), wished=False)


def test_messages_that_are_none_are_not_asked_for() -> None:
    assert not may_ask(fields_of(b'{"seed": 1, "messages": [7]}'), wished=False)
    assert not may_ask(fields_of(b'{"seed": 1}'), wished=False)


def test_a_whole_answer_may_be_kept() -> None:
    assert may_keep(completion(), stream=False)
    assert may_keep(b"".join((delta("Hel"), delta("lo."), END, usage_event(7, 2), DONE)), stream=True)


def choice(reason: str | None, index: int = 0, **message: object) -> dict[str, object]:
    return {"index": index, "message": {"role": "assistant", **message}, "finish_reason": reason}


@pytest.mark.parametrize(
    "choices",
    [
        [],
        [choice("length")],
        [choice("content_filter")],
        [choice("tool_calls")],
        [choice("stop", tool_calls=[{"id": "1"}])],
        [choice(None)],
        [choice("stop"), choice("length", 1)],
    ],
    ids=json.dumps,
)
def test_an_answer_that_did_not_come_to_its_own_end_is_not_kept(choices: list[object]) -> None:
    assert not may_keep(completion(choices=choices), stream=False)


@pytest.mark.parametrize(
    "events",
    [
        (delta("Hel"), DONE),
        (delta("Hel"), event({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}), DONE),
        (event({"choices": [{"index": 0, "delta": {"tool_calls": [{"id": "1"}]}}]}), END, DONE),
        (delta("Hel"), END, event({"error": {"message": "No."}})),
        (delta("Hel"), END, b"data: {not JSON}\n\n", DONE),
        (DONE,),
    ],
    ids=["no end", "cut", "a call", "an error", "no JSON", "nothing"],
)
def test_a_stream_that_did_not_come_to_its_own_end_is_not_kept(events: tuple[bytes, ...]) -> None:
    assert not may_keep(b"".join(events), stream=True)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", b"{", b'{"choices": 7}', b'{"error": {"message": "No."}}']
)
def test_what_is_no_answer_is_not_kept(body: bytes) -> None:
    assert not may_keep(body, stream=False)


def test_an_answer_that_is_too_long_is_not_kept() -> None:
    assert may_keep(completion("x" * (LARGEST - 1000)), stream=False)
    assert not may_keep(completion("x" * LARGEST), stream=False)


def test_an_answer_is_kept_an_hour_unless_its_model_says_otherwise() -> None:
    assert timedelta(hours=1) == ttl_of(Model(backend="pool"))
    assert timedelta(seconds=5) == ttl_of(Model(backend="pool", cache_ttl_s=5))


@pytest.mark.parametrize(
    ("header", "directives"),
    [
        (b"", Directives()),
        (b"no-cache", Directives(no_cache=True)),
        (b" No-Store , ONLY-IF-CACHED", Directives(no_store=True, only_if_cached=True)),
        (b"max-age=60, min-fresh=5", Directives(max_age_s=60)),
        (b'max-age="60"', Directives(max_age_s=60)),
        (b"max-age=soon", Directives(max_age_s=0)),
        (b"max-age", Directives(max_age_s=0)),
        (b"max-age=-1", Directives(max_age_s=0)),
        (b"max-age=\xb2", Directives(max_age_s=0)),
        (b",,=;", Directives(max_age_s=FOREVER_S)),
    ],
)
def test_what_a_caller_demands(header: bytes, directives: Directives) -> None:
    assert directives == directives_of(header)
