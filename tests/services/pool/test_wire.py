"""What an engine gets of a request: all that was asked, under the engine's own name for the model."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.config import Backend, Config, Model
from events.words import Refusal
from functions.request.admission import Admitted, admit
from services.pool.wire import for_engine
from tests.support.wire import MODEL

CONFIG = Config(
    backends={"pool": Backend(replicas=("http://engine:1",))}, models={MODEL: Model(backend="pool")}
)
ODD = (
    b'{ "model" : "gemma",\n "messages":[{"role":"user","content":"h\\u00e9"}] , "temperature":0.10,'
    b' "seed": 123456789012345678901234567890, "x" : { "b":1e2 ,"a" : [ ] }, "caf\xc3\xa9":"\\/" }'
)


def sent(body: bytes, served_as: str = MODEL) -> bytes:
    admitted = admit(body, CONFIG)
    assert isinstance(admitted, Admitted)
    return for_engine(body, admitted, served_as)


def chat(**more: Any) -> bytes:
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Hi."}], **more}).encode()


def test_a_body_passes_byte_for_byte_where_nothing_changes() -> None:
    assert ODD == sent(ODD)


def test_every_field_keeps_its_bytes_where_the_model_is_renamed() -> None:
    renamed = sent(ODD, "hub/gemma:4b")

    assert b'"temperature":0.10' in renamed
    assert b'"seed":123456789012345678901234567890' in renamed
    assert b'{ "b":1e2 ,"a" : [ ] }' in renamed
    assert b'[{"role":"user","content":"h\\u00e9"}]' in renamed
    assert json.loads(ODD) | {"model": "hub/gemma:4b"} == json.loads(renamed)


def test_a_stream_is_asked_for_its_usage_and_nothing_else_changes() -> None:
    body = b' { "stream" : true, ' + ODD[2:]

    assert json.loads(body) | {"stream_options": {"include_usage": True}} == json.loads(sent(body))
    assert sent(body).endswith(body.strip()[1:])


OPTIONS: list[Any] = [None, {}, {"include_usage": False}, {"include_usage": None}, {"other": [1]}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("served_as", [MODEL, "other"])
def test_options_of_a_stream_are_kept_beside_the_wish_for_usage(options: Any, served_as: str) -> None:
    told = json.loads(sent(chat(stream=True, stream_options=options), served_as))

    assert {**(options or {}), "include_usage": True} == told["stream_options"]


def test_a_caller_that_asks_for_the_usage_itself_is_passed_on_as_it_is() -> None:
    body = chat(stream=True, stream_options={"include_usage": True})

    assert body == sent(body)


def test_an_answer_in_one_piece_is_not_asked_for_a_streams_options() -> None:
    assert "stream_options" not in json.loads(sent(chat(), "other"))
    assert "stream_options" not in json.loads(sent(chat(stream=False), "other"))


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("served_as", [MODEL, "other"])
def test_a_limit_of_the_answer_is_told_under_both_its_names(served_as: str, streamed: bool) -> None:
    # Ollama knows only the old one, which OpenAI's clients no longer send; where both are sent the new one
    # holds, as it does at OpenAI's.
    asked = {"stream": streamed, "max_completion_tokens": 7}
    both = [json.loads(sent(chat(**asked, **more), served_as)) for more in ({}, {"max_tokens": 900})]

    assert [(7, 7)] * 2 == [(told["max_tokens"], told["max_completion_tokens"]) for told in both]


def test_no_limit_is_no_limit_under_both_its_names() -> None:
    told = json.loads(sent(chat(max_completion_tokens=None, user="max_completion_tokens")))

    assert (None, False) == (told["max_completion_tokens"], "max_tokens" in told)
    assert 900 == json.loads(sent(chat(max_completion_tokens=None, max_tokens=900)))["max_tokens"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    more=st.dictionaries(
        st.text().filter(lambda name: name not in ("model", "messages", "stream_options")), json_values
    ),
    streamed=st.sampled_from([None, True, False]),
    ascii_only=st.booleans(),
    served_as=st.sampled_from([MODEL, "other"]),
)
def test_whatever_is_admitted_reaches_the_engine_with_all_its_fields(
    more: dict[str, Any], streamed: bool | None, ascii_only: bool, served_as: str
) -> None:
    asked = {**more, "model": MODEL, "messages": [{"role": "user", "content": "x"}], "stream": streamed}
    told = json.loads(sent(json.dumps(asked, ensure_ascii=ascii_only).encode("utf-8", "replace"), served_as))

    wish = {"stream_options": {"include_usage": True}} if streamed else {}
    assert {**asked, "model": served_as, **wish} == {**told}


VALID = chat(stream=True)


@given(st.binary(max_size=6), st.integers(0, len(VALID)), st.integers(0, 6))
def test_a_damaged_body_is_refused_or_can_be_sent(damage: bytes, at: int, over: int) -> None:
    body = VALID[:at] + damage + VALID[at + over :]
    admitted = admit(body, CONFIG)

    if not isinstance(admitted, Refusal):
        assert json.loads(for_engine(body, admitted, "other"))
