import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from events.catalog import KNOWN
from events.config import Backend, Config, Model
from events.envelope import decode
from events.inference import InferenceCompleted
from events.requests import Answer
from events.words import Problem, Refusal
from functions.request.intake import Taken, Terms, accepted, refused, take, trace_of
from functions.request.submission import Options

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"
TERMS = Terms(deadline_s=60, keep_s=100)
CONFIG = Config(
    backends={"pool": Backend(replicas=("http://engine:8000",))}, models={"gemma": Model(backend="pool")}
)


def taking(**changed: Any) -> Taken | Refusal:
    chat = {"model": "gemma", "messages": [{"role": "user", "content": "Hello."}]} | changed
    return take(json.dumps(chat).encode(), Options(), config=CONFIG, now=NOON, terms=TERMS)


@pytest.mark.parametrize(
    ("changed", "param"),
    [({"stream": True}, "stream"), ({"model": "gpt-9"}, "model"), ({"messages": []}, "messages")],
)
def test_what_cannot_be_queued_is_refused(changed: dict[str, Any], param: str) -> None:
    verdict = taking(**changed)
    assert isinstance(verdict, Refusal)
    assert param == verdict.problem.param


def test_a_body_that_is_too_large_is_refused_with_its_size_and_the_limit() -> None:
    body = json.dumps({"model": "gemma", "messages": [{"role": "user", "content": "Hello."}]}).encode()
    fits, short = (replace(TERMS, body_bytes=len(body) - less) for less in (0, 1))

    assert isinstance(take(body, Options(), config=CONFIG, now=NOON, terms=fits), Taken)
    verdict = take(body, Options(), config=CONFIG, now=NOON, terms=short)
    assert isinstance(verdict, Refusal)
    assert (413, "request_too_large") == (verdict.status, verdict.problem.code)
    assert f"has {len(body)} bytes" in verdict.problem.message
    assert f"{len(body) - 1} at most" in verdict.problem.message


def test_options_are_judged_before_the_body() -> None:
    verdict = take(b"Hello", Options(lane="express"), config=CONFIG, now=NOON, terms=TERMS)
    assert isinstance(verdict, Refusal)
    assert "lane" == verdict.problem.param


def test_a_taken_request_waits_until_its_deadline_and_is_kept_beyond() -> None:
    verdict = taking()
    assert isinstance(verdict, Taken)
    document = accepted(verdict, request_id="req_1", tenant="acme", key_id="key_1", now=NOON, terms=TERMS)
    assert ("accepted", "gemma", 0) == (document.state, document.model, document.attempts)
    assert NOON + timedelta(seconds=60) == document.deadline_at
    assert NOON + timedelta(seconds=160) == document.expire_at
    assert document.body_id.startswith("req_1")


def test_a_refused_request_has_failed_and_owes_the_event_that_tells_of_it() -> None:
    refusal = Refusal(status=404, problem=Problem(message="No 'gpt-9'.", param="gpt-9", code="bad"))
    document = refused(
        refusal,
        request_id="req_1",
        tenant="acme",
        key_id="key_1",
        body_id="why",
        now=NOON,
        terms=TERMS,
        source="/test",
        traceparent=TRACE,
    )
    assert ("failed", "", TRACE) == (document.state, document.body_id, document.traceparent)
    assert Answer(status_code=404, body_id="why") == document.answer
    assert NOON + timedelta(seconds=100) == document.expire_at
    (told,) = document.owed
    said = decode(told.attributes, told.data, KNOWN).event
    assert isinstance(said, InferenceCompleted)
    assert ("failed", 404, "why") == (said.status, said.status_code, said.body_id)


def test_where_the_answer_goes_is_kept_with_the_request() -> None:
    chat = {"model": "gemma", "messages": [{"role": "user", "content": "Hello."}]}
    verdict = take(json.dumps(chat).encode(), Options(answer="topic"), config=CONFIG, now=NOON, terms=TERMS)
    assert isinstance(verdict, Taken)
    identity = {"request_id": "req_1", "tenant": "acme", "key_id": "key_1"}
    assert "topic" == accepted(verdict, **identity, now=NOON, terms=TERMS).answer_to


def test_a_refused_request_keeps_the_callers_words_out_of_its_document() -> None:
    problem = Problem(message="No model 'my secret'.", param="my secret", code="bad")
    refusal = Refusal(status=400, problem=problem)
    identity = {"request_id": "req_1", "tenant": "acme", "key_id": "key_1", "body_id": "why"}
    document = refused(refusal, **identity, now=NOON, terms=TERMS, source="/test", traceparent="my secret")
    assert b"secret" not in msgspec.json.encode(document)
    assert document.problem is not None
    assert ("The request was refused with status 400.", "bad") == (
        document.problem.message,
        document.problem.code,
    )


@pytest.mark.parametrize("text", ["", "00-1", TRACE.upper(), f"{TRACE}\n", "x" * 10_000])
def test_only_a_traceparent_is_kept_as_one(text: str) -> None:
    assert "" == trace_of(text)
    assert TRACE == trace_of(TRACE)
    verdict = taking()
    assert isinstance(verdict, Taken)
    identity = {"request_id": "req_1", "tenant": "acme", "key_id": "key_1"}
    assert "" == accepted(verdict, **identity, now=NOON, terms=TERMS, traceparent=text).traceparent
