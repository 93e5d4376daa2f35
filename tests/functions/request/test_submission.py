import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.requests import CHAT
from events.words import Refusal
from functions.request.submission import Options, Submission, asked_for, read_submission

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CHAT_BODY = {"model": "gemma", "messages": [{"role": "user", "content": "Hello."}]}


def read(body: object, **options: Any) -> Submission | Refusal:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_submission(text, Options(**options), now=NOON, default_deadline_s=60)


def taken(body: object, **options: Any) -> Submission:
    verdict = read(body, **options)
    assert isinstance(verdict, Submission), verdict
    return verdict


def refused_param(body: object, **options: Any) -> str | None:
    verdict = read(body, **options)
    assert isinstance(verdict, Refusal), verdict
    assert 400 == verdict.status
    return verdict.problem.param


def envelope(**changed: Any) -> dict[str, Any]:
    return {"url": CHAT, "body": CHAT_BODY} | changed


def test_a_flat_body_is_a_chat_completion_with_the_options_beside_it() -> None:
    got = taken(CHAT_BODY, lane="batch", deadline=5, custom_id="line-1")
    assert (CHAT, "batch", "line-1") == (got.url, got.lane, got.custom_id)
    assert NOON + timedelta(seconds=5) == got.deadline_at
    assert CHAT_BODY == json.loads(got.body)


def test_a_flat_body_is_kept_byte_for_byte() -> None:
    text = b' {"messages" : [],\n"body": 1} '
    assert text == taken(text).body


def test_an_envelope_is_opened_and_its_body_kept_byte_for_byte() -> None:
    text = b'{"method": "POST", "url": "/v1/chat/completions", "body": {"a" :  1.50}, "lane": "batch"}'
    got = taken(text)
    assert (b'{"a" :  1.50}', "batch", CHAT) == (got.body, got.lane, got.url)


def test_an_envelopes_own_options_win() -> None:
    got = taken(
        envelope(lane="batch", deadline=10, custom_id="own"),
        lane="interactive",
        deadline=20,
        custom_id="beside",
    )
    assert ("batch", NOON + timedelta(seconds=10), "own") == (got.lane, got.deadline_at, got.custom_id)


def test_what_an_envelope_leaves_out_is_taken_from_beside_it() -> None:
    got = taken(envelope(), lane="batch", deadline=20, custom_id="beside")
    assert ("batch", NOON + timedelta(seconds=20), "beside") == (got.lane, got.deadline_at, got.custom_id)


@pytest.mark.parametrize(
    "body",
    [b"", b"Hello", b"[]", b'{"body"', b"[" * 10_000, {"body": {}, "messages": []}],
    ids=["empty", "no JSON", "list", "cut short", "too deep", "has messages"],
)
def test_what_is_no_envelope_is_left_to_admission(body: object) -> None:
    assert CHAT == taken(body).url


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (envelope(url="/v1/images/generations"), "url"),
        (envelope(method="GET"), "method"),
        (envelope(lane="express"), "lane"),
        (envelope(deadline="soon"), "deadline"),
        (envelope(custom_id="x" * 65), "custom_id"),
        ({"body": {}}, "url"),
        (envelope(webhook="https://a.example"), "webhook"),
        (envelope(url=5), "url"),
        (envelope(lane=["batch"]), "lane"),
        (envelope(deadline=True), "deadline"),
        (envelope(answer="webhook"), "answer"),
        (envelope(answer=""), "answer"),
        (envelope(answer=True), "answer"),
    ],
)
def test_an_envelope_that_is_wrong_is_refused(body: dict[str, Any], param: str) -> None:
    assert param == refused_param(body)


@pytest.mark.parametrize(
    "text",
    [b'{"url":"\xff","body":{}}', b'{"body":{},"\xff":1}'],
    ids=["a value", "a name"],
)
def test_an_envelope_that_is_not_utf_8_is_refused(text: bytes) -> None:
    assert isinstance(read(text), Refusal)


LONG = "x" * 1_000_000


@pytest.mark.parametrize(
    "body",
    [
        envelope(url=LONG),
        envelope(method=LONG),
        envelope(lane=LONG),
        envelope(deadline=LONG),
        envelope(deadline=10**400),
        envelope(answer=LONG),
        envelope(**{LONG: 1}),
    ],
    ids=["url", "method", "lane", "deadline", "number", "answer", "name"],
)
def test_what_a_caller_said_is_not_repeated_to_its_end(body: dict[str, Any]) -> None:
    verdict = read(body)
    assert isinstance(verdict, Refusal)
    assert len(verdict.problem.message) < 300
    assert len(verdict.problem.param or "") < 200


@pytest.mark.parametrize(
    ("own", "beside", "answer_to"),
    [(None, None, None), ("topic", None, "topic"), (None, "topic", "topic")],
)
def test_an_answer_goes_to_a_topic_where_that_is_asked_for(
    own: str | None, beside: str | None, answer_to: str | None
) -> None:
    assert answer_to == taken(envelope(answer=own), answer=beside).answer_to


@pytest.mark.parametrize("beside", ["", "Topic", "webhook"])
def test_an_answer_goes_nowhere_else(beside: str) -> None:
    assert "answer" == refused_param(CHAT_BODY, answer=beside)


@pytest.mark.parametrize(
    ("body", "answer_to"),
    [
        (envelope(answer="topic", url=5, lane=["batch"], colour="red"), "topic"),
        (b'{"body": 5, "answer": "t\\u006fpic"}', "topic"),
        (b'{"body": {}, "colour": "\xff", "answer": "topic"}', "topic"),
        (envelope(), None),
        (envelope(answer="webhook"), None),
        (envelope(answer=["topic"]), None),
        (CHAT_BODY | {"answer": "topic"}, None),
        ({"body": {}, "messages": [], "answer": "topic"}, None),
        (b'{"body": {}, "answer": "topic"', None),
        (b'{"body": ' + b"[" * 50_000, None),
        (b"", None),
    ],
    ids=[
        "all else is wrong",
        "escaped",
        "not UTF-8",
        "not asked",
        "elsewhere",
        "no text",
        "flat",
        "has messages",
        "cut short",
        "too deep",
        "empty",
    ],
)
def test_where_an_answer_goes_is_read_whatever_else_is_wrong(body: object, answer_to: str | None) -> None:
    assert answer_to == asked_for(body if isinstance(body, bytes) else json.dumps(body).encode())


def test_a_custom_id_may_have_64_characters() -> None:
    assert "x" * 64 == taken(envelope(custom_id="x" * 64)).custom_id


@pytest.mark.parametrize(
    ("asked", "after_s"),
    [
        (None, 60),
        (1, 1),
        (0.5, 0.5),
        ("90", 90),
        ("1.5", 1.5),
        ("2026-01-01T12:00:10Z", 10),
        ("2026-01-01T13:00:10+01:00", 10),
        (7 * 86_400, 7 * 86_400),
    ],
)
def test_a_deadline_is_seconds_from_now_or_a_time(asked: Any, after_s: float) -> None:
    assert NOON + timedelta(seconds=after_s) == taken(CHAT_BODY, deadline=asked).deadline_at


@pytest.mark.parametrize(
    "asked",
    [
        0,
        -1,
        "-5",
        "2026-01-01T12:00:00Z",
        "2025-12-31T12:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "2026-01-01T13:00:00",
        "tomorrow",
        "",
        "nan",
        "inf",
        "1e300",
        1e300,
        10**400,
        7 * 86_400 + 1,
        "9999-12-31T23:59:59Z",
    ],
)
def test_a_deadline_that_passed_is_too_far_or_makes_no_sense_is_refused(asked: Any) -> None:
    assert "deadline" == refused_param(CHAT_BODY, deadline=asked)


@given(st.text(max_size=30) | st.floats() | st.integers())
def test_any_deadline_is_kept_within_a_week_or_refused(asked: str | float) -> None:
    verdict = read(CHAT_BODY, deadline=asked)
    if isinstance(verdict, Submission):
        assert NOON < verdict.deadline_at <= NOON + timedelta(days=7)


@given(st.binary(max_size=200))
def test_any_bytes_get_a_verdict(text: bytes) -> None:
    assert isinstance(read(text), Submission | Refusal)
