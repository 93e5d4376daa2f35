"""What an engine's answer means for a queued request."""

import pytest

from services.dispatcher.engine_call import EngineAnswer
from services.dispatcher.judgement import judge
from services.pool.flight import Failure
from tests.support.wire import completion, problem, usage


def answered(status: int, body: bytes = b"", **headers: str) -> EngineAnswer:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return EngineAnswer(status, named, body)


def test_a_completion_is_an_answer() -> None:
    body = completion(usage=usage(7, 3))
    judgement = judge(answered(200, body), "gemma")

    assert ("finished", body, None, "no") == (
        judgement.outcome,
        judgement.body,
        judgement.problem,
        judgement.again,
    )
    assert judgement.usage is not None
    assert (7, 3) == (judgement.usage.input, judgement.usage.output)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", problem("CUDA")])
def test_what_is_no_completion_failed(body: bytes) -> None:
    judgement = judge(answered(200, body), "gemma")

    assert ("engine_error", None, "counted") == (judgement.outcome, judgement.body, judgement.again)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_engine_is_no_failed_attempt(status: int) -> None:
    judgement = judge(answered(status, problem(), retry_after="9"), "gemma")

    assert ("engine_error", "free", 9) == (judgement.outcome, judgement.again, judgement.retry_after_s)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_callers_mistake_is_final(status: int) -> None:
    judgement = judge(answered(status, problem("No.", param="top_p")), "gemma")

    assert "no" == judgement.again
    assert judgement.problem is not None
    assert ("No.", "top_p") == (judgement.problem.message, judgement.problem.param)


@pytest.mark.parametrize("status", [301, 401, 404, 500, 502])
def test_an_engines_own_failure_may_pass(status: int) -> None:
    assert "counted" == judge(answered(status, problem("CUDA")), "gemma").again


def test_an_engine_that_is_away_is_no_failed_attempt() -> None:
    assert "free" == judge(Failure(kind="connect", message="refused"), "gemma").again


def test_an_engine_that_had_hung_up_before_the_call_is_asked_again_at_once() -> None:
    assert "at once" == judge(Failure(kind="stale", message="closed"), "gemma").again


@pytest.mark.parametrize("kind", ["reset", "protocol"])
def test_an_engine_that_dies_is_a_failed_attempt(kind: str) -> None:
    judgement = judge(Failure(kind=kind, message="it died"), "gemma")  # type: ignore[arg-type]

    assert ("engine_died", "counted") == (judgement.outcome, judgement.again)
