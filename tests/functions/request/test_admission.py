import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from events.config import Backend, Config, Model, Needs
from events.words import Refusal
from functions.request.admission import (
    BYTES_PER_TOKEN,
    IMAGE_TOKENS,
    Admitted,
    ChatMessage,
    admit,
    estimate_input,
)

CONFIG = Config(
    backends={"pool": Backend(replicas=("http://engine:8000",))},
    models={
        "gemma": Model(backend="pool"),
        "small": Model(backend="pool", context=100),
    },
)
SAY = {"role": "user", "content": "Hello there."}


def body(**changed: Any) -> bytes:
    return json.dumps({"model": "gemma", "messages": [SAY]} | changed).encode()


def said(content: object) -> ChatMessage:
    return msgspec.json.decode(json.dumps({"role": "user", "content": content}), type=ChatMessage)


def admitted(text: bytes) -> Admitted:
    verdict = admit(text, CONFIG)
    assert isinstance(verdict, Admitted), verdict
    return verdict


def refused(text: bytes) -> Refusal:
    verdict = admit(text, CONFIG)
    assert isinstance(verdict, Refusal), verdict
    return verdict


def test_a_chat_is_admitted_with_what_it_is_estimated_to_cost() -> None:
    verdict = admitted(body())
    assert ("gemma", False, False) == (verdict.model, verdict.stream, verdict.wants_usage)
    assert len("Hello there.") // BYTES_PER_TOKEN == verdict.input_estimate


@pytest.mark.parametrize("stream", [True, False, None])
def test_it_is_known_whether_the_answer_streams(stream: bool | None) -> None:
    assert (stream is True) is admitted(body(stream=stream)).stream


@pytest.mark.parametrize(
    ("options", "wants"),
    [(None, False), ({}, False), ({"include_usage": False}, False), ({"include_usage": True}, True)],
)
def test_it_is_known_whether_a_stream_ends_with_its_usage(options: Any, wants: bool) -> None:
    assert wants is admitted(body(stream=True, stream_options=options)).wants_usage


def test_fields_that_decide_nothing_here_pass_unread() -> None:
    assert "gemma" == admitted(body(temperature="warm", tools=[{"any": ["thing", None]}], seed=1.5)).model


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"model": 5}, "model"),
        ({"model": None}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": ["Hello"]}, "messages[0]"),
        ({"messages": [SAY, {"role": 5}]}, "messages[1].role"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(changed: dict[str, Any], param: str) -> None:
    refusal = refused(body(**changed))
    assert (400, "invalid_type", param) == (refusal.status, refusal.problem.code, refusal.problem.param)
    assert param in refusal.problem.message


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_field_that_is_missing_is_named(missing: str) -> None:
    kept = {name: value for name, value in json.loads(body()).items() if name != missing}
    refusal = refused(json.dumps(kept).encode())
    assert (400, missing) == (refusal.status, refusal.problem.param)
    assert "missing_required_parameter" == refusal.problem.code
    assert f"{missing} is required." == refusal.problem.message


def test_a_field_that_is_missing_inside_is_named_by_its_path() -> None:
    refusal = refused(body(messages=[SAY, {"content": "x"}]))
    assert "messages[1].role" == refusal.problem.param


def test_a_model_whose_name_is_long_is_not_repeated_to_its_end() -> None:
    refusal = refused(body(model="x" * 5_000_000))
    assert "'xxx" in refusal.problem.message
    assert len(refusal.problem.message) < 200


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"Hello",
        body()[:-1],
        body() + b"}",
        b"\xef\xbb\xbf" + body(),
        body().replace(b"Hello", b"\xff\xfe"),
        body(temperature="@").replace(b"@", b"\xc3\x28"),
        b'{"later": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        body(messages=[{"role": "user", "content": "@"}]).replace(b'"@"', b"[" * 10_000 + b"]" * 10_000),
    ],
    ids=[
        "empty",
        "no JSON",
        "cut short",
        "too long",
        "byte order mark",
        "not UTF-8",
        "not UTF-8 where nobody reads",
        "too deep",
        "too deep in a message",
    ],
)
def test_what_is_not_json_in_utf8_is_refused(text: bytes) -> None:
    refusal = refused(text)
    assert (400, "invalid_json", None) == (refusal.status, refusal.problem.code, refusal.problem.param)


@pytest.mark.parametrize("text", [b"null", b"[]", b"5", b'"Hello"'])
def test_what_is_not_an_object_is_refused(text: bytes) -> None:
    assert 400 == refused(text).status


def test_a_chat_without_messages_is_refused() -> None:
    problem = refused(body(messages=[])).problem
    assert ("messages", "empty_array") == (problem.param, problem.code)


def test_a_model_that_does_not_exist_is_refused_with_those_that_do() -> None:
    refusal = refused(body(model="gpt-9"))
    assert (404, "model", "model_not_found") == (
        refusal.status,
        refusal.problem.param,
        refusal.problem.code,
    )
    assert "gemma, small" in refusal.problem.message


@pytest.mark.parametrize(("tokens", "fits"), [(100, True), (150, True), (151, False), (10_000, False)])
def test_only_a_prompt_far_over_the_context_is_refused(tokens: int, fits: bool) -> None:
    text = body(model="small", messages=[{"role": "user", "content": "abcd" * tokens}])
    if fits:
        assert tokens == admitted(text).input_estimate
    else:
        problem = refused(text).problem
        assert ("messages", "context_length_exceeded") == (problem.param, problem.code)


def test_a_model_of_unknown_context_takes_any_prompt() -> None:
    assert 100_000 == admitted(body(messages=[{"role": "user", "content": "abcd" * 100_000}])).input_estimate


def test_images_cost_a_flat_rate_however_long_they_are() -> None:
    text = {"type": "text", "text": "abcd" * 10}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    assert 10 + 2 * IMAGE_TOKENS == estimate_input([said([text, image, image])])


@pytest.mark.parametrize(
    ("content", "tokens"),
    [(None, 1), ("", 1), ("abcd", 1), ("abcdefgh", 2), ([], 1), (["no", "parts"], 2), ([{"text": 5}], 2)],
)
def test_any_content_costs_at_least_one_token(content: object, tokens: int) -> None:
    assert tokens == estimate_input([said(content)])


def test_the_estimate_adds_up_over_messages() -> None:
    assert 3 == estimate_input([said("abcd"), said("abcd"), said("abcd")])


@given(st.binary(max_size=300))
def test_any_bytes_get_a_verdict(text: bytes) -> None:
    assert isinstance(admit(text, CONFIG), Admitted | Refusal)


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "model": st.just("gemma") | anything,
            "messages": st.lists(st.fixed_dictionaries({"role": st.text(), "content": anything})) | anything,
            "stream": st.booleans() | anything,
            "stream_options": anything,
        },
    )
)
def test_any_json_gets_a_verdict(chat: dict[str, Any]) -> None:
    verdict = admit(json.dumps(chat).encode(), CONFIG)
    if isinstance(verdict, Admitted):
        assert chat["model"] == verdict.model
        assert verdict.input_estimate >= 1
    else:
        assert verdict.problem.message.endswith(".")


# --- what decides where there is something to decide

DECIDED = Config(
    backends=CONFIG.backends,
    models={
        "gemma": Model(backend="pool", vision=False),
        "a": Model(backend="pool", tasks=("code",), context=100),
        "b": Model(backend="pool", tasks=("code",), context=1000),
    },
    aliases={"small": "gemma"},
)


def judged(**changed: Any) -> Admitted:
    verdict = admit(body(**changed), DECIDED)
    assert isinstance(verdict, Admitted), verdict
    return verdict


IMAGE = {"type": "image_url", "image_url": {"url": "https://host/a.png"}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}


@pytest.mark.parametrize(
    ("changed", "needs"),
    [
        ({}, Needs()),
        ({"messages": [SAY, {"role": "user", "content": [IMAGE]}]}, Needs(vision=True)),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "image_url"}]}]}, Needs()),
        ({"tools": [{"type": "function"}]}, Needs(tools=True)),
        ({"tools": []}, Needs()),
        ({"tools": None, "response_format": None}, Needs()),
        ({"response_format": FORMAT}, Needs(json_schema=True)),
        ({"response_format": {"type": "json_object"}}, Needs()),
        ({"tools": "many", "response_format": 5}, Needs(tools=True)),
    ],
)
def test_what_a_request_needs_is_seen(changed: dict[str, Any], needs: Needs) -> None:
    found = judged(**changed)
    assert replace(needs, tokens=found.input_estimate) == found.needs


def test_where_nothing_decides_nothing_is_looked_for() -> None:
    found = admitted(body(tools=[{"type": "function"}]))
    assert (Needs(), "") == (found.needs, found.seed)


def test_a_conversation_keeps_its_seed_and_another_has_another() -> None:
    answer, more = {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "More."}
    first, second = judged().seed, judged(messages=[SAY, answer, more]).seed

    assert first == second != ""
    assert first != judged(messages=[more]).seed
    assert first != judged(messages=[{"role": "system", "content": "Be brief."}, SAY]).seed


def test_a_name_of_several_models_takes_what_the_largest_takes() -> None:
    assert isinstance(judged(model="task:code", messages=[{"role": "user", "content": "x" * 4000}]), Admitted)
    verdict = admit(body(model="task:code", messages=[{"role": "user", "content": "x" * 40_000}]), DECIDED)
    assert isinstance(verdict, Refusal)
    assert "task:code takes 1000" in verdict.problem.message


def test_the_refusal_of_an_unknown_name_tells_aliases_and_tasks() -> None:
    verdict = admit(body(model="smal"), DECIDED)
    assert isinstance(verdict, Refusal)
    assert "Models: a, b, gemma, small, task:code." in verdict.problem.message
