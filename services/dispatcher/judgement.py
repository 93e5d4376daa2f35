"""What an engine's answer means for a queued request: it is answered, it failed, or it is tried again."""

from typing import Literal

from events.usage import Outcome
from events.words import Problem, Record, Usage, server_problem
from services.dispatcher.engine_call import EngineAnswer
from services.pool.engine_errors import refusal_of
from services.pool.flight import Failure
from services.pool.sse import read_answer

Again = Literal["no", "at once", "free", "counted"]


class Judgement(Record):
    """`again` says whether another attempt may help: "free" where the engine was only busy or away, so
    that it is no failed attempt, "counted" where the attempt failed, "at once" where there is nothing to
    wait for either. With a `status_code` the problem is told in the engine's own words, which may quote
    the prompt.
    """

    outcome: Outcome
    usage: Usage | None = None
    body: bytes | None = None
    problem: Problem | None = None
    status_code: int | None = None
    again: Again = "no"
    retry_after_s: int | None = None


# A stale connection's engine most likely never saw the call; the next attempt opens a new one.
AFTER: dict[str, Again] = {"connect": "free", "stale": "at once"}


def judge(result: EngineAnswer | Failure, model: str) -> Judgement:
    """The judgement on one attempt."""
    if isinstance(result, Failure):
        problem = server_problem(f"The engine for {model} failed: {result.message}.", "engine_died")
        return Judgement(outcome="engine_died", problem=problem, again=AFTER.get(result.kind, "counted"))
    if result.status == 200:
        return _whole(result.body, model)
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


def _whole(body: bytes, model: str) -> Judgement:
    try:
        usage = read_answer(body)
    except ValueError:
        problem = server_problem(f"The engine for {model} answered with what is no JSON.", "engine_error")
        return Judgement(outcome="engine_error", problem=problem, again="counted")
    return Judgement(outcome="finished", usage=usage, body=body)
