"""The oracle believes good facts, and says what is wrong with bad ones."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from events.usage import Completed, Settled, Started, UsageRecord
from events.words import Usage
from services.rehearsal.journal import Accepted, Ended, Row
from tests.kill.facts import Call, Facts, Final, Kill, Named, Queued, Reading, Step, Sum, Terms
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


def unbilled(attempt: str) -> Settled:
    return msgspec.structs.replace(estimate(attempt, Usage(input=7)), billed=False)


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


def keyed_call(request: str, key: str, answer: str = "a") -> Call:
    return replace(whole_call(request), key=key, answer=answer)


def response(request: str) -> Queued:
    return replace(queued(request), completion_id=f"resp_{request}")


def reading(*numbers: int, pieces: int = 3, ended: str = "whole") -> Reading:
    """A reading of the response whose first attempt told the events 3 to 5, and its second one 6 to 8."""
    told = tuple((number, number) for number in numbers)
    text = "x" * pieces
    return Reading(
        request_id="read", told=told, text=text, whole="xxx" if ended == "whole" else "", ended=ended
    )


def step(place: int, attempt: int, first: int, following: int) -> Step:
    return Step(request_id="read", place=place, attempt=attempt, first=first, next=following)


def readings(*changed: Reading) -> Callable[[Facts], Facts]:
    """Facts with other readings than those that are good."""
    return lambda facts: replace(facts, readings=changed)


CUT = {"at": KILLED_AT, "outcome": "cancelled"}
BEGUN_AGAIN = "answer_begun_again"
LATE = reading(0, 1, 2, 6, 7, 8, 9)  # began behind the dead attempt

# Four requests: one answered; one cut and estimated; one estimated, then completed; one queued.
# Of a fifth the ledger knows nothing, and its client saw nothing.
# Three more under keys: lost, and its retry answered; answered in the end, and given away.
# And a response whose first attempt was lost, as its readers were told it.
ENGINE: tuple[Row, ...] = (
    *(accepted("whole.1"), ended("whole.1")),
    *(accepted("cut.1", at=99.0), ended("cut.1", **CUT)),
    *(accepted("late.1"), ended("late.1")),
    *(accepted("queued.1"), ended("queued.1")),
    *(accepted("unheard.1", at=99.9), ended("unheard.1", **CUT)),
    *(accepted("lost.1", at=99.0), ended("lost.1", **CUT)),
    *(accepted("retried.1"), ended("retried.1")),
    *(accepted("given.1"), ended("given.1", at=99.5)),
    *(accepted("read.1"), ended("read.1", **CUT)),
    *(accepted("read.2"), ended("read.2")),
)
RECORDS: tuple[UsageRecord, ...] = (
    *(started("whole.1"), completed("whole.1")),
    *(started("cut.1"), estimate("cut.1", Usage(input=7, output=30))),
    *(started("late.1"), estimate("late.1", Usage(input=7)), completed("late.1")),
    reversal("late.1", Usage(input=7)),
    *(started("queued.1", queued=True), completed("queued.1")),
    *(started("lost.1", queued=True), unbilled("lost.1")),
    *(started("retried.1", queued=True), completed("retried.1")),
    *(started("given.1", queued=True), unbilled("given.1")),
    *(started("read.1", queued=True), unbilled("read.1")),
    *(started("read.2", queued=True), completed("read.2")),
)
GOOD = Facts(
    terms=Terms(tokens_per_s=10.0, progress_every_s=1.0, margin_s=0.5),
    engine=ENGINE,
    records=RECORDS,
    sums=(Sum(day=DAY, requests=6, input=42, output=230, **PLACE),),
    calls=(
        *(whole_call("whole"), cut_call("cut"), whole_call("late")),
        *(replace(cut_call("lost"), key="k"), keyed_call("retried", "k"), keyed_call("retried", "k")),
        keyed_call("given", "g"),
    ),
    queued=(queued("queued"), response("read")),
    named=(Named(key="q", told=frozenset(["queued"]), stored=frozenset(["queued"])),),
    readings=(reading(0, 1, 2, 3, 4, pieces=1, ended=BEGUN_AGAIN), LATE, LATE),
    journal=(step(0, 1, 3, 5), step(1, 1, 5, 6), step(2, 2, 6, 6), step(3, 2, 6, 9)),
    finals=(final("queued"), final("queued"), final("read")),  # published twice, under one id
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
        "a response": lambda f: replace(f, queued=(replace(response("read"), status="failed"),)),
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
    "keys_get_an_answer": {
        "an error": lambda f: replace(
            f, calls=(*f.calls, replace(keyed_call("retried", "k"), ended="error"))
        ),
        "nothing": lambda f: replace(f, calls=(*f.calls, replace(cut_call("lost"), key="other"))),
    },
    "retries_get_the_same_answer": {
        "other bytes": lambda f: replace(f, calls=(*f.calls, keyed_call("retried", "k", answer="b"))),
    },
    "keys_are_billed_once": {
        "each of two answers": lambda f: also(
            instead(f, ended("lost.1", **CUT), ended("lost.1")), completed("lost.1")
        ),
        "for free": lambda f: instead(f, completed("retried.1"), unbilled("retried.1")),
        "for free, long before a kill": lambda f: instead(
            f, ended("given.1", at=99.5), ended("given.1", at=90.0)
        ),
        "an answer nobody made": lambda f: replace(f, calls=(*f.calls, keyed_call("nobody", "n"))),
    },
    "lost_runs_under_keys_are_not_billed": {
        "as an estimate": lambda f: instead(f, unbilled("lost.1"), estimate("lost.1", Usage(input=7))),
    },
    "keys_make_one_request": {
        "two told": lambda f: replace(f, named=(replace(f.named[0], told=frozenset(["queued", "read"])),)),
        "two stored": lambda f: replace(
            f, named=(replace(f.named[0], stored=frozenset(["queued", "read"])),)
        ),
        "none": lambda f: replace(f, named=(replace(f.named[0], stored=frozenset()),)),
    },
    "readings_have_an_end": {
        "begun again at last": readings(reading(0, 1, 2, 3, pieces=0, ended=BEGUN_AGAIN)),
        "begun again for nothing": readings(*[reading(0, 1, 2, ended=BEGUN_AGAIN)] * 2, LATE),
        "refused": readings(reading(0, 1, 2, ended="400 invalid_value")),
        "failed": readings(reading(0, 1, 2, ended="response.failed")),
        "never": readings(reading(0, 1, 2, ended="never")),
    },
    "numbers_go_on_by_one": {
        "one comes twice": readings(reading(0, 1, 2, 6, 6, 7, 8, 9)),
        "one is missing": readings(reading(0, 1, 2, 6, 8, 9)),
        "the first is missing": readings(reading(1, 2, 6, 7, 8, 9)),
        "missing in the opening": readings(reading(0, 2, 6, 7, 8, 9)),
        "behind the opening, of the only attempt": lambda f: replace(
            without(f, accepted("read.1"), ended("read.1", **CUT), accepted("read.2"), ended("read.2")),
            journal=(step(0, 1, 3, 9),),
        ),
        "back": readings(reading(0, 1, 2, 6, 7, 8, 3)),
    },
    "a_number_is_one_event": {
        "told in two ways": readings(LATE, replace(LATE, told=(*LATE.told[:-1], (9, 10)))),
    },
    "readings_are_of_one_attempt": {
        "of two": readings(reading(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)),
        "of none": lambda f: replace(f, journal=f.journal[:2]),
        "a piece is missing": readings(replace(LATE, text="xx")),
    },
    "journals_are_one_row": {
        "a place is taken from another": lambda f: replace(
            f, journal=(*f.journal[:2], step(2, 1, 6, 8), f.journal[3])
        ),
        "a place is missing": lambda f: replace(f, journal=(f.journal[0], *f.journal[2:])),
        "an attempt comes back": lambda f: replace(f, journal=(*f.journal, step(4, 1, 9, 9))),
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
    sums = (replace(GOOD.sums[0], output=220),)
    assert [] != violations(replace(low, sums=sums))
    held_back = (replace(GOOD.kills[0], held_back_s=0.5),)
    assert [] == violations(replace(low, sums=sums, kills=held_back))
