"""The states of a queued request and the only steps between them."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from events.answer import owed_at_the_end
from events.requests import FINAL, WAITING, Answer, Claim, FinalStatus, Owed, RequestDocument
from events.words import Problem


def claim(doc: RequestDocument, owner: str, now: datetime, lease_s: float) -> RequestDocument:
    """The next attempt begins: only its owner may write until the lease ends.

    A doorbell still owed is forgotten: somebody came.
    """
    return replace(
        doc,
        state="running",
        attempts=doc.attempts + 1,
        claim=Claim(owner=owner, lease_until=now + timedelta(seconds=lease_s)),
        not_before=None,
        owed=(),
    )


def renew(doc: RequestDocument, now: datetime, lease_s: float) -> RequestDocument:
    """A heartbeat: the claim lasts longer."""
    assert doc.claim is not None
    return replace(doc, claim=replace(doc.claim, lease_until=now + timedelta(seconds=lease_s)))


def release(doc: RequestDocument, not_before: datetime | None = None) -> RequestDocument:
    """Back to the queue: the attempt ended without an answer, and another one may begin."""
    return replace(doc, state="routed", claim=None, not_before=not_before)


def finish(
    doc: RequestDocument,
    status: FinalStatus,
    *,
    now: datetime,
    keep_s: float,
    source: str,
    answer: Answer | None = None,
    problem: Problem | None = None,
    also_owed: tuple[Owed, ...] = (),
) -> RequestDocument:
    """The end, with the events that tell of it owed. The document is kept `keep_s` more."""
    ended = replace(
        doc,
        state=status,
        claim=None,
        answer=answer,
        problem=problem,
        not_before=None,
        expire_at=now + timedelta(seconds=keep_s),
    )
    return replace(ended, owed=(*also_owed, *owed_at_the_end(ended, now, source)))


def cancel(doc: RequestDocument, *, now: datetime, keep_s: float, source: str) -> RequestDocument | None:
    """The caller wants no answer; None where it ended already."""
    if doc.state in FINAL:
        return None
    problem = Problem(message="The request was cancelled.", type="cancelled", code="request_cancelled")
    return finish(doc, "cancelled", now=now, keep_s=keep_s, source=source, problem=problem)


def expire(doc: RequestDocument, *, now: datetime, keep_s: float, source: str) -> RequestDocument | None:
    """The deadline passed; None where it has not, or somebody runs the request right now."""
    if doc.state not in WAITING or now < doc.deadline_at:
        return None
    return finish(doc, "expired", now=now, keep_s=keep_s, source=source, problem=expired_problem())


def expired_problem() -> Problem:
    """What a caller reads whose deadline passed."""
    return Problem(
        message="The deadline passed before an answer was ready.", type="expired", code="request_expired"
    )
