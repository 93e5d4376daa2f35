import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events.config import Backend, Config, Model
from events.requests import FINAL
from events.words import Problem, Refusal
from functions.request.intake import Taken, Terms, accepted, refused, take
from functions.request.submission import Options

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
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


def test_a_refused_request_has_failed_and_tells_why() -> None:
    refusal = Refusal(status=400, problem=Problem(message="No."))
    document = refused(refusal, request_id="req_1", tenant="acme", key_id="key_1", now=NOON, terms=TERMS)
    assert document.state in FINAL
    assert (refusal.problem, "") == (document.problem, document.body_id)
    assert NOON + timedelta(seconds=100) == document.expire_at
