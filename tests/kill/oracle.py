"""What must hold however often the platform died: checks over facts, each yielding what is wrong in words."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC

from events.usage import Completed, Settled, Started
from events.words import Usage
from services.rehearsal.journal import Accepted, Ended
from tests.kill import followed, keyed
from tests.kill.facts import Check, Facts, Final, Kill, Sum, is_reversal, request_of

SLACK_S = 1.0  # between what two processes call the same moment
END_EVENTS = 3  # a stream's finish, usage and end may be counted as tokens where its usage was not read


def violations(facts: Facts) -> list[str]:
    """Everything that is wrong, each with the check that says so."""
    return [f"{check.__name__}: {text}" for check in CHECKS for text in check(facts)]


# --- the ledger and the engine's own log


def completions_are_the_engines(facts: Facts) -> Iterator[str]:
    """A finished attempt is recorded with the very tokens the engine counted."""
    ended = facts.ended
    for record in facts.completed:
        if record.outcome != "finished":
            continue
        row = ended.get(record.attempt)
        if row is None or row.outcome != "finished":
            yield f"{record.attempt} is recorded as finished, the engine says {row and row.outcome}"
        elif (record.usage.input, record.usage.output) != (row.prompt_tokens, row.completion_tokens):
            yield f"{record.attempt} is recorded with {record.usage}, the engine says {row}"


def bills_are_for_attempts(facts: Facts) -> Iterator[str]:
    """Nobody pays for what no engine was asked."""
    accepted = facts.accepted
    for row in facts.bills:
        if row.attempt not in accepted:
            yield f"{row} is about an attempt the engine does not know"


def records_are_kept_once(facts: Facts) -> Iterator[str]:
    """An attempt starts, completes, is estimated and is taken back at most once."""
    kept = Counter(
        (type(record).__name__, record.id if isinstance(record, Settled) else record.attempt)
        for record in facts.records
        if isinstance(record, Started | Completed | Settled)
    )
    for (kind, name), times in kept.items():
        if times > 1:
            yield f"{times} records {kind} of {name}"


def unrecorded_attempts_died_in_silence(facts: Facts) -> Iterator[str]:
    """An attempt without a record was cut by a kill, and no byte of it reached a client.

    There are no more of them at a kill than calls were in flight.
    """
    seen = {call.request_id for call in facts.calls if call.saw_byte}
    at_kill: Counter[Kill] = Counter()
    for row in unrecorded(facts):
        kill = _kill_within(row, facts.ended.get(row.attempt), facts.kills)
        if request_of(row.attempt) in seen:
            yield f"{row.attempt} has no record, and its client saw a byte"
        if kill is None:
            yield f"{row.attempt} has no record, and nothing was killed while it ran"
        else:
            at_kill[kill] += 1
    for kill, count in at_kill.items():
        if count > kill.in_flight:
            yield f"{count} attempts without a record, but {kill}"


def unrecorded(facts: Facts) -> list[Accepted]:
    """The attempts the ledger never heard of."""
    known = {record.attempt for record in facts.records}
    return [row for attempt, row in facts.accepted.items() if attempt not in known]


def _kill_within(began: Accepted, ended: Ended | None, kills: Iterable[Kill]) -> Kill | None:
    """The kill that cut an attempt; commits may have stood still before it."""
    for kill in kills:
        still_since = kill.at - kill.held_back_s - SLACK_S
        if began.at <= kill.at + SLACK_S and (ended is None or ended.at >= still_since):
            return kill
    return None


# --- bill rows


def seen_answers_are_billed_once(facts: Facts) -> Iterator[str]:
    """Whoever saw a byte of an answer pays for it once, net of reversals; nobody pays twice. What a call with
    a key saw is paid for with its answer.
    """
    net = facts.net
    seen = {call.request_id for call in facts.calls if call.saw_byte and not call.key}
    for request in seen:
        if net[request] != 1:
            yield f"{request} was answered and has {net[request]} bill rows"
    for request, count in net.items():
        if request not in seen and count not in (0, 1):
            yield f"{request} has {count} bill rows"


def queued_answers_are_billed_once(facts: Facts) -> Iterator[str]:
    """A completed queued request has one bill row."""
    net = facts.net
    for request in {final.request_id for final in facts.finals if final.status == "completed"}:
        if net[request] != 1:
            yield f"{request} is completed and has {net[request]} bill rows"


def answers_are_the_ones_billed(facts: Facts) -> Iterator[str]:
    """The answer that was given is of the attempt that is billed. Of calls with a key, and of responses,
    other checks tell.
    """
    attempts = {row.id: row.attempt for row in facts.engine}
    billed, read = {row.attempt for row in facts.bills}, {reading.request_id for reading in facts.readings}
    calls = [call for call in facts.calls if not call.key]
    for answer in (*calls, *(queued for queued in facts.queued if queued.request_id not in read)):
        attempt = attempts.get(answer.completion_id, "")
        if answer.completion_id and (attempt not in billed or request_of(attempt) != answer.request_id):
            yield f"{answer} shows the attempt {attempt!r}, which is not billed for it"


def reversals_take_back_estimates(facts: Facts) -> Iterator[str]:
    """A reversal is its estimate negated."""
    rows = {row.id: row for row in facts.settled}
    for row in rows.values():
        estimate = rows.get(f"est:{row.attempt}")
        if is_reversal(row) and (estimate is None or estimate.usage + row.usage != Usage()):
            yield f"{row} takes back {estimate}"


def estimates_are_close(facts: Facts) -> Iterator[str]:
    """An estimate that stands lacks at most what was made since the last progress record was due."""
    ended, reversed_ = facts.ended, {row.attempt for row in facts.bills if is_reversal(row)}
    for row in facts.settled:
        told = ended.get(row.attempt)
        if not row.billed or row.attempt in reversed_ or told is None:
            continue
        allowed = _tokens_unheard_of(told, facts)
        short = told.completion_tokens - row.usage.output
        if not -END_EVENTS <= short <= allowed or row.usage.input != told.prompt_tokens:
            yield f"{row} may lack {allowed:.0f} tokens, but the engine says {told}"


def _tokens_unheard_of(told: Ended, facts: Facts) -> float:
    terms = facts.terms
    later = [kill for kill in facts.kills if kill.at >= told.at - SLACK_S]
    held_back_s = min(later, key=lambda kill: kill.at).held_back_s if later else 0.0
    return terms.tokens_per_s * (terms.progress_every_s + terms.margin_s + held_back_s)


def sums_are_those_of_the_bills(facts: Facts) -> Iterator[str]:
    """`penstock usage` adds up to the ledger's bill rows."""
    expected, told = _added_up(facts), {_line(line): line for line in facts.sums}
    for key in expected.keys() | told.keys():
        if expected.get(key) != told.get(key):
            yield f"the bill rows add up to {expected.get(key)}, usage says {told.get(key)}"


_Line = tuple[str, str, str, str]


def _line(line: Sum) -> _Line:
    return line.day, line.tenant, line.key, line.model


def _added_up(facts: Facts) -> dict[_Line, Sum]:
    rows: dict[_Line, list[Completed | Settled]] = defaultdict(list)
    for row in facts.bills:
        rows[row.at.astimezone(UTC).date().isoformat(), row.tenant, row.key, row.model].append(row)
    return {
        (day, tenant, key, model): Sum(
            day=day,
            tenant=tenant,
            key=key,
            model=model,
            requests=sum(-1 if is_reversal(row) else 1 for row in of_line),
            input=sum(row.usage.input for row in of_line),
            output=sum(row.usage.output for row in of_line),
        )
        for (day, tenant, key, model), of_line in rows.items()
    }


# --- queued requests


def acknowledged_requests_are_answered(facts: Facts) -> Iterator[str]:
    """What was acknowledged can be read, completed and with its answer: nothing else was asked for."""
    for request in facts.queued:
        if request.status != "completed" or not request.completion_id:
            yield f"{request} was acknowledged, and is not answered"


def requests_end_once(facts: Facts) -> Iterator[str]:
    """Every request that ended tells so under one event id only, and every acknowledged one does."""
    told: dict[str, set[Final]] = defaultdict(set)
    for final in facts.finals:
        told[final.request_id].add(final)
    for request in {request.request_id for request in facts.queued} | told.keys():
        if len(told[request]) != 1:
            yield f"{request} told its end {len(told[request])} times: {sorted(map(str, told[request]))}"


def nothing_is_given_up(facts: Facts) -> Iterator[str]:
    """Being killed is no reason for a dead letter."""
    yield from facts.dead_letters


def everything_settles(facts: Facts) -> Iterator[str]:
    """Left alone for a while, the platform has nothing left to do."""
    yield from facts.unsettled


CHECKS: tuple[Check, ...] = (
    completions_are_the_engines,
    bills_are_for_attempts,
    records_are_kept_once,
    unrecorded_attempts_died_in_silence,
    seen_answers_are_billed_once,
    queued_answers_are_billed_once,
    answers_are_the_ones_billed,
    reversals_take_back_estimates,
    estimates_are_close,
    sums_are_those_of_the_bills,
    acknowledged_requests_are_answered,
    requests_end_once,
    nothing_is_given_up,
    everything_settles,
    *keyed.CHECKS,
    *followed.CHECKS,
)
