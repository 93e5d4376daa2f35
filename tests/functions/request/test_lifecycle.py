from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from events.answer import AnswerDue
from events.catalog import KNOWN
from events.envelope import decode
from events.inference import InferenceCompleted
from events.jobs import JobDue
from events.requests import FINAL, WAITING, Answer, Claim, FinalStatus, Owed, RequestDocument, State, owed
from functions.request.lifecycle import cancel, claim, expire, finish, release, renew

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ROUTED = RequestDocument(
    id="req_1",
    tenant="acme",
    key_id="key_1",
    url="/v1/chat/completions",
    model="gemma",
    lane="batch",
    state="routed",
    created_at=NOON,
    deadline_at=NOON + 60 * SECOND,
    expire_at=NOON + 100 * SECOND,
    body_id="req_1-prompt",
    backend="pool",
    traceparent="00-trace",
)
ANSWER = Answer(status_code=200, body_id="req_1-answer")


def completed(document: RequestDocument) -> RequestDocument:
    return finish(document, "completed", now=NOON, keep_s=50, source="/dispatcher", answer=ANSWER)


def said(one: Owed) -> InferenceCompleted:
    event = decode(one.attributes, one.data, KNOWN).event
    assert isinstance(event, InferenceCompleted)
    return event


def in_state(state: State, **changed: object) -> RequestDocument:
    held = Claim(owner="me", lease_until=NOON + 30 * SECOND) if state == "running" else None
    return replace(ROUTED, state=state, claim=held, **changed)


def test_a_claim_begins_the_next_attempt_and_forgets_the_doorbell() -> None:
    bell = owed(ROUTED, JobDue(job="x", slot=NOON), NOON, "/router")
    waiting = replace(ROUTED, owed=(bell,), not_before=NOON)
    running = claim(waiting, "me", NOON, 30)
    assert ("running", 1, (), None) == (running.state, running.attempts, running.owed, running.not_before)
    assert Claim(owner="me", lease_until=NOON + 30 * SECOND) == running.claim


def test_a_heartbeat_moves_the_end_of_the_lease_and_nothing_else() -> None:
    running = claim(ROUTED, "me", NOON, 30)
    renewed = renew(running, NOON + 10 * SECOND, 30)
    assert Claim(owner="me", lease_until=NOON + 40 * SECOND) == renewed.claim
    assert running == replace(renewed, claim=running.claim)


def test_a_released_request_waits_again_and_its_attempt_stays_counted() -> None:
    again = release(claim(ROUTED, "me", NOON, 30), NOON + SECOND)
    assert ("routed", None, 1, NOON + SECOND) == (again.state, again.claim, again.attempts, again.not_before)


def test_an_end_owes_the_event_that_tells_of_it() -> None:
    ended = completed(claim(ROUTED, "me", NOON, 30))
    assert ("completed", None, ANSWER) == (ended.state, ended.claim, ended.answer)
    assert NOON + 50 * SECOND == ended.expire_at
    assert 1 == len(ended.owed)
    assert said(ended.owed[0]) == InferenceCompleted(
        request_id="req_1",
        tenant="acme",
        status="completed",
        attempts=1,
        model="gemma",
        status_code=200,
        body_id="req_1-answer",
    )


def test_an_end_may_owe_more_and_tells_of_itself_last() -> None:
    other = Owed(topic="usage-recorded-v1", attributes={}, data=b"{}")
    ended = finish(ROUTED, "failed", now=NOON, keep_s=50, source="/d", also_owed=(other,))
    assert (other, "failed") == (ended.owed[0], said(ended.owed[1]).status)


@pytest.mark.parametrize("status", sorted(FINAL))
def test_where_the_answer_was_asked_for_on_a_topic_an_end_owes_that_too(status: FinalStatus) -> None:
    asking = replace(ROUTED, answer_to="topic")
    other = Owed(topic="usage-recorded-v1", attributes={}, data=b"{}")
    ended = finish(asking, status, now=NOON, keep_s=50, source="/d", also_owed=(other,))
    first, told, due = ended.owed
    assert (other, status) == (first, said(told).status)
    assert AnswerDue(request_id="req_1", tenant="acme") == decode(due.attributes, due.data, KNOWN).event
    assert ("answer-due-v1", "00-trace") == (due.topic, due.attributes["traceparent"])
    assert due.attributes["ce-id"] != told.attributes["ce-id"]


def test_an_owed_event_travels_with_its_requests_trace() -> None:
    assert "00-trace" == completed(ROUTED).owed[0].attributes["traceparent"]


def test_the_same_end_is_told_under_the_same_id() -> None:
    assert completed(ROUTED).owed == completed(ROUTED).owed


def test_owed_ids_differ_by_request_attempt_and_type() -> None:
    event = JobDue(job="x", slot=NOON)
    ids = [
        owed(ROUTED, event, NOON, "/d").attributes["ce-id"],
        owed(replace(ROUTED, id="req_2"), event, NOON, "/d").attributes["ce-id"],
        owed(replace(ROUTED, attempts=1), event, NOON, "/d").attributes["ce-id"],
        completed(ROUTED).owed[0].attributes["ce-id"],
    ]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("state", get_args(State))
def test_only_what_has_not_ended_can_be_cancelled(state: State) -> None:
    ended = cancel(in_state(state), now=NOON, keep_s=50, source="/router")
    if state in FINAL:
        assert ended is None
    else:
        assert ended is not None
        assert ("cancelled", None) == (ended.state, ended.claim)
        assert ended.problem is not None
        assert "request_cancelled" == ended.problem.code


@pytest.mark.parametrize("state", get_args(State))
@pytest.mark.parametrize(("late", "is_late"), [(-SECOND, False), (0 * SECOND, True), (SECOND, True)])
def test_only_what_waits_past_its_deadline_expires(state: State, late: timedelta, is_late: bool) -> None:
    ended = expire(in_state(state), now=ROUTED.deadline_at + late, keep_s=50, source="/dispatcher")
    if not (is_late and state in WAITING):
        assert ended is None
    else:
        assert ended is not None
        assert "expired" == ended.state
        assert ended.problem is not None
        assert "request_expired" == ended.problem.code


STEPS: dict[str, Callable[[RequestDocument, datetime], RequestDocument | None]] = {
    "claim": lambda doc, now: claim(doc, "me", now, 30) if doc.state == "routed" else None,
    "renew": lambda doc, now: renew(doc, now, 30) if doc.state == "running" else None,
    "release": lambda doc, now: release(doc) if doc.state == "running" else None,
    "complete": lambda doc, now: completed(doc) if doc.state == "running" else None,
    "cancel": lambda doc, now: cancel(doc, now=now, keep_s=50, source="/router"),
    "expire": lambda doc, now: expire(doc, now=now, keep_s=50, source="/dispatcher"),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 20)), max_size=20))
def test_whatever_happens_a_request_ends_once_and_its_claim_means_it_runs(
    steps: list[tuple[str, int]],
) -> None:
    document, now, ends = ROUTED, NOON, 0
    for step, pause_s in steps:
        now += pause_s * SECOND
        after = STEPS[step](document, now)
        if after is None:
            continue
        assert document.state not in FINAL
        assert document.attempts + (step == "claim") == after.attempts
        ends += after.state in FINAL
        document = after
    assert (document.state == "running") is (document.claim is not None)
    assert (document.state in FINAL) is (ends == 1)
    assert [document.state] * ends == [said(one).status for one in document.owed]
