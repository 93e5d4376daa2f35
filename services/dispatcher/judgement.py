"""What an engine's answer means for a queued request: it is answered, it failed, or it is tried again."""

from typing import Literal

import msgspec
from msgspec.structs import replace

from events.usage import Outcome
from events.words import Problem, Record, Usage, server_problem
from services.dispatcher.engine_call import EngineAnswer
from services.guarding.asking import unchecked
from services.guarding.guard import Watching
from services.guarding.texts import sift
from services.pool.engine_errors import refusal_of
from services.pool.flight import Failure
from services.pool.sse import estimate_output, read_answer
from services.responses.told import Response, response_of

Again = Literal["no", "at once", "free", "counted"]


class Judgement(Record):
    """`again` says whether another attempt may help: "free" where the engine was only busy or away, so
    that it is no failed attempt, "counted" where the attempt failed, "at once" where there is nothing to
    wait for either. With a `status_code` the problem is told in the engine's own words, which may quote
    the prompt. `output_estimate`: about how many tokens an answer has whose engine told no `usage`.
    """

    outcome: Outcome
    usage: Usage | None = None
    output_estimate: int = 0
    body: bytes | None = None
    problem: Problem | None = None
    status_code: int | None = None
    again: Again = "no"
    retry_after_s: int | None = None


# A stale connection's engine most likely never saw the call; the next attempt opens a new one.
AFTER: dict[str, Again] = {"connect": "free", "stale": "at once"}


def judge(result: EngineAnswer | Failure, model: str, answer_bytes: int) -> Judgement:
    """The judgement on one attempt; an answer of more than `answer_bytes` cannot be kept for its caller."""
    if isinstance(result, Failure):
        if result.kind == "large":
            return too_large(result.message, model, answer_bytes)
        problem = server_problem(f"The engine for {model} failed: {result.message}.", "engine_died")
        return Judgement(outcome="engine_died", problem=problem, again=AFTER.get(result.kind, "counted"))
    if result.status == 200:
        return _whole(result.body, model, answer_bytes)
    refusal = refusal_of(result.status, result.headers, result.body, model)
    if refusal.status in (429, 503):
        return Judgement(
            outcome="engine_error",
            problem=refusal.problem,
            again="free",
            retry_after_s=refusal.retry_after_s,
        )
    if refusal.status < 500:
        return Judgement(outcome="engine_error", problem=refusal.problem, status_code=refusal.status)
    return Judgement(outcome="engine_error", problem=refusal.problem, again="counted")


def _whole(body: bytes, model: str, answer_bytes: int) -> Judgement:
    try:
        usage = read_answer(body)
    except ValueError:
        problem = server_problem(f"The engine for {model} answered with what is no JSON.", "engine_error")
        return Judgement(outcome="engine_error", problem=problem, again="counted")
    if len(body) > answer_bytes:
        return too_large(f"its answer has {len(body)} bytes", model, answer_bytes, usage)
    estimate = 0 if usage else estimate_output(body)
    return Judgement(outcome="finished", usage=usage, output_estimate=estimate, body=body)


def too_large(told: str, model: str, answer_bytes: int, usage: Usage | None = None) -> Judgement:
    """The judgement on an answer that cannot be kept. It is not tried again: the next would be as large."""
    problem = Problem(
        message=f"{model} answered, but {told}, and that of a queued request may have {answer_bytes} at "
        "most. Ask for less: fewer tokens, a lower n, no logprobs.",
        code="answer_too_large",
    )
    return Judgement(outcome="engine_error", usage=usage, problem=problem)


def told_as_response(judgement: Judgement, response: Response, at: int) -> Judgement:
    """The same of a chat completion that answers a response, and came `at` (seconds since 1970); a counted
    failure where it is none.
    """
    if judgement.body is None:
        return judgement
    try:
        return replace(judgement, body=msgspec.json.encode(response_of(response, judgement.body, at)))
    except ValueError:
        problem = server_problem("The engine's answer is no chat completion.", "engine_error")
        return Judgement(outcome="engine_error", usage=judgement.usage, problem=problem, again="counted")


def released(judgement: Judgement, watching: Watching | None) -> Judgement:
    """With what a guard lets out of the answer. One it fails on is made again: it is kept nowhere."""
    if watching is None or judgement.body is None:
        return judgement
    try:
        body, _ = sift(judgement.body, watching)
    except Exception as error:  # noqa: BLE001  (whatever it is: what was not read is not told)
        problem = unchecked(error).problem
        return Judgement(outcome="blocked", usage=judgement.usage, problem=problem, again="counted")
    return replace(judgement, body=body)
