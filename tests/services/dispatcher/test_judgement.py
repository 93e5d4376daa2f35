"""What an engine's answer means for a queued request."""

import pytest

from services.dispatcher.engine_call import EngineAnswer
from services.dispatcher.judgement import judge
from services.pool.flight import Failure
from tests.support.wire import completion, problem, usage


def answered(status: int, body: bytes = b"", **headers: str) -> EngineAnswer:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return EngineAnswer(status, named, body)


def test_a_completion_is_an_answer() -> None:
    body = completion(usage=usage(7, 3))
    judgement = judge(answered(200, body), "gemma", 1000)

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
    judgement = judge(answered(200, body), "gemma", 1000)

    assert ("engine_error", None, "counted") == (judgement.outcome, judgement.body, judgement.again)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_engine_is_no_failed_attempt(status: int) -> None:
    judgement = judge(answered(status, problem(), retry_after="9"), "gemma", 1000)

    assert ("engine_error", "free", 9) == (judgement.outcome, judgement.again, judgement.retry_after_s)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_callers_mistake_is_final(status: int) -> None:
    judgement = judge(answered(status, problem("No.", param="top_p")), "gemma", 1000)

    assert "no" == judgement.again
    assert judgement.problem is not None
    assert ("No.", "top_p") == (judgement.problem.message, judgement.problem.param)


@pytest.mark.parametrize("status", [301, 401, 404, 500, 502])
def test_an_engines_own_failure_may_pass(status: int) -> None:
    assert "counted" == judge(answered(status, problem("CUDA")), "gemma", 1000).again


def test_an_engine_that_is_away_is_no_failed_attempt() -> None:
    assert "free" == judge(Failure(kind="connect", message="refused"), "gemma", 1000).again


def test_an_engine_that_had_hung_up_before_the_call_is_asked_again_at_once() -> None:
    assert "at once" == judge(Failure(kind="stale", message="closed"), "gemma", 1000).again


@pytest.mark.parametrize("kind", ["reset", "protocol"])
def test_an_engine_that_dies_is_a_failed_attempt(kind: str) -> None:
    judgement = judge(Failure(kind=kind, message="it died"), "gemma", 1000)  # type: ignore[arg-type]

    assert ("engine_died", "counted") == (judgement.outcome, judgement.again)


def test_an_answer_as_large_as_can_be_kept_is_one() -> None:
    body = completion(usage=usage(7, 3))

    assert body == judge(answered(200, body), "gemma", len(body)).body


def test_an_answer_that_cannot_be_kept_is_final_and_its_tokens_are_known() -> None:
    body = completion(usage=usage(7, 3))
    judgement = judge(answered(200, body), "gemma", len(body) - 1)

    assert ("engine_error", None, "no") == (judgement.outcome, judgement.body, judgement.again)
    assert judgement.problem is not None
    assert "answer_too_large" == judgement.problem.code
    assert f"{len(body)} bytes" in judgement.problem.message
    assert f"{len(body) - 1} at most" in judgement.problem.message
    assert judgement.usage is not None
    assert 3 == judgement.usage.output


def test_an_answer_nobody_held_is_final_too() -> None:
    judgement = judge(Failure(kind="large", message="its answer has 70000000 bytes"), "gemma", 1000)

    assert ("engine_error", "no") == (judgement.outcome, judgement.again)
    assert judgement.problem is not None
    assert "70000000 bytes" in judgement.problem.message
