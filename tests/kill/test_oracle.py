"""The oracle believes good facts, and says what is wrong with bad ones."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from events.usage import Completed, Settled, Started, UsageRecord
from events.words import Usage
from services.rehearsal.journal import Accepted, Ended, Row
from tests.kill.facts import Call, Facts, Final, Kill, Queued, Sum, Terms
from tests.kill.oracle import CHECKS, violations

AT = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = "2027-03-01"
PLACE = {"tenant": "default", "key": "k1", "model": "gemma"}
MADE = {**PLACE, "backend": "pool", "at": AT}
USED = Usage(input=7, output=40)
KILLED_AT = 100.0


def accepted(attempt: str, at: float = 10.0) -> Accepted:
    return Accepted(id=f"chatcmpl-{attempt}", attempt=attempt, prompt_tokens=USED.input, at=at)


def ended(attempt: str, at: float = 11.0, **changed: object) -> Ended:
    row = Ended(
        id=f"chatcmpl-{attempt}",
        attempt=attempt,
        outcome="finished",
        prompt_tokens=USED.input,
        cached_tokens=0,
        completion_tokens=USED.output,
        sent_tokens=USED.output,
        at=at,
    )
    return msgspec.structs.replace(row, **changed)


def started(attempt: str, *, queued: bool = False) -> Started:
    return Started(attempt=attempt, request=attempt[:-2], estimate=7, queued=queued, **MADE)


def completed(attempt: str, usage: Usage = USED) -> Completed:
    return Completed(
        attempt=attempt, request=attempt[:-2], outcome="finished", usage=usage, billed=True, **MADE
    )


def estimate(attempt: str, usage: Usage) -> Settled:
    return Settled(
        id=f"est:{attempt}", attempt=attempt, request=attempt[:-2], usage=usage, billed=True, **MADE
    )


def reversal(attempt: str, usage: Usage) -> Settled:
    return msgspec.structs.replace(estimate(attempt, -usage), id=f"rev:{attempt}")


def whole_call(request: str) -> Call:
    return Call(request_id=request, completion_id=f"chatcmpl-{request}.1", saw_byte=True, ended="whole")


def cut_call(request: str) -> Call:
    return replace(whole_call(request), ended="cut")


def queued(request: str) -> Queued:
    return Queued(request_id=request, status="completed", completion_id=f"chatcmpl-{request}.1")


def final(request: str) -> Final:
    return Final(event_id=f"event-{request}", request_id=request, status="completed")


CUT = {"at": KILLED_AT, "outcome": "cancelled"}

# Four requests: one answered; one cut and estimated; one estimated, then completed; one queued.
# Of a fifth the ledger knows nothing, and its client saw nothing.
ENGINE: tuple[Row, ...] = (
    *(accepted("whole.1"), ended("whole.1")),
    *(accepted("cut.1", at=99.0), ended("cut.1", **CUT)),
    *(accepted("late.1"), ended("late.1")),
    *(accepted("queued.1"), ended("queued.1")),
    *(accepted("unheard.1", at=99.9), ended("unheard.1", **CUT)),
)
RECORDS: tuple[UsageRecord, ...] = (
    *(started("whole.1"), completed("whole.1")),
    *(started("cut.1"), estimate("cut.1", Usage(input=7, output=30))),
    *(started("late.1"), estimate("late.1", Usage(input=7)), completed("late.1")),
    reversal("late.1", Usage(input=7)),
    *(started("queued.1", queued=True), completed("queued.1")),
)
GOOD = Facts(
    terms=Terms(tokens_per_s=10.0, progress_every_s=1.0, margin_s=0.5),
    engine=ENGINE,
    records=RECORDS,
    sums=(Sum(day=DAY, requests=4, input=28, output=150, **PLACE),),
    calls=(whole_call("whole"), cut_call("cut"), whole_call("late")),
    queued=(queued("queued"),),
    finals=(final("queued"), final("queued")),  # published twice, under one id
    kills=(Kill(at=KILLED_AT, phase="streaming", in_flight=2),),
)


def without(facts: Facts, *gone: UsageRecord | Row) -> Facts:
    """Facts without some rows of the ledger or of the engine."""
    return replace(
        facts,
        engine=tuple(row for row in facts.engine if row not in gone),
        records=tuple(record for record in facts.records if record not in gone),
    )


def instead(facts: Facts, old: UsageRecord | Row, new: UsageRecord | Row) -> Facts:
    """Facts with one row changed."""
    return replace(
        facts,
        engine=tuple(new if row == old else row for row in facts.engine),
        records=tuple(new if record == old else record for record in facts.records),
    )


def also(facts: Facts, *records: UsageRecord) -> Facts:
    """Facts with more in the ledger."""
    return replace(facts, records=(*facts.records, *records))


# Facts as they must never be, by the check that says so.
BAD: dict[str, dict[str, Callable[[Facts], Facts]]] = {
    "completions_are_the_engines": {
        "fewer tokens": lambda f: instead(f, completed("whole.1"), completed("whole.1", Usage(input=7))),
        "other input": lambda f: instead(
            f, completed("whole.1"), completed("whole.1", Usage(input=8, output=40))
        ),
        "not finished there": lambda f: instead(f, ended("whole.1"), ended("whole.1", outcome="cancelled")),
        "unknown there": lambda f: without(f, accepted("whole.1"), ended("whole.1")),
    },
    "bills_are_for_attempts": {
        "made up": lambda f: also(f, estimate("nobody.1", Usage(input=7))),
    },
    "records_are_kept_once": {
        "two completions": lambda f: also(f, completed("whole.1")),
        "two starts": lambda f: also(f, started("whole.1")),
        "two estimates": lambda f: also(f, estimate("cut.1", Usage(input=7))),
    },
    "unrecorded_attempts_died_in_silence": {
        "a byte was seen": lambda f: replace(f, calls=(*f.calls, cut_call("unheard"))),
        "no kill": lambda f: replace(f, kills=()),
        "before the kill": lambda f: instead(f, ended("unheard.1", **CUT), ended("unheard.1", at=98.0)),
        "too many": lambda f: replace(f, kills=(replace(f.kills[0], in_flight=0),)),
    },
    "seen_answers_are_billed_once": {
        "for free": lambda f: without(f, completed("whole.1")),
        "cut, for free": lambda f: without(f, estimate("cut.1", Usage(input=7, output=30))),
        "twice": lambda f: also(f, estimate("whole.1", USED)),
        "not reversed": lambda f: without(f, reversal("late.1", Usage(input=7))),
        "unseen and twice": lambda f: also(
            f, estimate("unheard.1", USED), completed("unheard.1"), completed("unheard.1")
        ),
    },
    "queued_answers_are_billed_once": {
        "for free": lambda f: without(f, completed("queued.1")),
        "two attempts": lambda f: also(f, completed("queued.2")),
    },
    "answers_are_the_ones_billed": {
        "another attempt": lambda f: instead(f, completed("queued.1"), completed("queued.2")),
        "another request": lambda f: replace(f, calls=(replace(whole_call("whole"), request_id="late"),)),
    },
    "reversals_take_back_estimates": {
        "too much": lambda f: instead(
            f, reversal("late.1", Usage(input=7)), reversal("late.1", Usage(input=8))
        ),
        "of nothing": lambda f: without(f, estimate("late.1", Usage(input=7))),
    },
    "estimates_are_close": {
        "too low": lambda f: instead(
            f, estimate("cut.1", Usage(input=7, output=30)), estimate("cut.1", Usage(input=7, output=24))
        ),
        "too high": lambda f: instead(
            f, estimate("cut.1", Usage(input=7, output=30)), estimate("cut.1", Usage(input=7, output=44))
        ),
        "other input": lambda f: instead(
            f, estimate("cut.1", Usage(input=7, output=30)), estimate("cut.1", Usage(input=6, output=30))
        ),
    },
    "sums_are_those_of_the_bills": {
        "too low": lambda f: replace(f, sums=(replace(f.sums[0], output=149),)),
        "nothing": lambda f: replace(f, sums=()),
        "another line": lambda f: replace(f, sums=(*f.sums, replace(f.sums[0], day="2027-03-02"))),
    },
    "acknowledged_requests_are_answered": {
        "missing": lambda f: replace(f, queued=(replace(queued("queued"), status="missing"),)),
        "failed": lambda f: replace(f, queued=(replace(queued("queued"), status="failed"),)),
        "without its answer": lambda f: replace(f, queued=(replace(queued("queued"), completion_id=""),)),
    },
    "requests_end_once": {
        "never": lambda f: replace(f, finals=()),
        "under two ids": lambda f: replace(f, finals=(*f.finals, replace(final("queued"), event_id="other"))),
        "in two ways": lambda f: replace(f, finals=(*f.finals, replace(final("queued"), status="failed"))),
    },
    "nothing_is_given_up": {
        "a dead letter": lambda f: replace(f, dead_letters=("ingest-default.request: given up",)),
    },
    "everything_settles": {
        "an open attempt": lambda f: replace(f, unsettled=("1 open attempt",)),
    },
}
CASES = [
    pytest.param(check, change, id=f"{check}: {name}")
    for check, changes in BAD.items()
    for name, change in changes.items()
]


def test_good_facts_are_believed() -> None:
    assert [] == violations(GOOD)


@pytest.mark.parametrize(("check", "change"), CASES)
def test_bad_facts_are_found(check: str, change: Callable[[Facts], Facts]) -> None:
    found = violations(change(GOOD))
    assert check in {violation.partition(":")[0] for violation in found}


def test_every_check_is_shown_bad_facts() -> None:
    assert [check.__name__ for check in CHECKS] == list(BAD)


def test_an_estimate_may_lack_more_where_commits_had_been_held_back() -> None:
    low = instead(
        GOOD, estimate("cut.1", Usage(input=7, output=30)), estimate("cut.1", Usage(input=7, output=20))
    )
    sums = (replace(GOOD.sums[0], output=140),)
    assert [] != violations(replace(low, sums=sums))
    held_back = (replace(GOOD.kills[0], held_back_s=0.5),)
    assert [] == violations(replace(low, sums=sums, kills=held_back))
