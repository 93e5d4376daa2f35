"""What must hold of calls with an idempotency key, however often they were retried."""

from collections import defaultdict
from collections.abc import Iterator

from tests.kill.facts import Call, Check, Facts, request_of

GIVEN_AWAY_S = 3.0  # from the end of an answer to its record, on a busy machine


def keys_get_an_answer(facts: Facts) -> Iterator[str]:
    """Left alone for a while, and asked once more, every key has an answer: none is stuck."""
    for key, calls in _by_key(facts).items():
        if calls[-1].ended != "whole":
            yield f"{key} was retried {len(calls)} times, and the last time {calls[-1]}"


def retries_get_the_same_answer(facts: Facts) -> Iterator[str]:
    """Whoever gets a whole answer under a key gets the same bytes as all others."""
    for key, calls in _by_key(facts).items():
        if len(answers := {call.answer for call in calls if call.ended == "whole"}) > 1:
            yield f"{key} was told {len(answers)} answers: {[call.completion_id for call in calls]}"


def keys_are_billed_once(facts: Facts) -> Iterator[str]:
    """Of all the answers made under keys those are billed that are told, each once.

    One is given away where a kill came between its result and the record of it: then nobody is billed.
    """
    told, keyed, given, net = _told(facts), _under_keys(facts), given_away(facts), facts.net
    for record in facts.completed:
        finished = record.billed and record.outcome == "finished"
        if finished and record.attempt in keyed and record.attempt not in told:
            yield f"{record.attempt} is billed, and its key tells another answer"
    for attempt in told:
        bills = net[request_of(attempt)]
        if bills != 1 and not (bills == 0 and attempt in given):
            yield f"{attempt} answers a key, and has {bills} bill rows"


def lost_runs_under_keys_are_not_billed(facts: Facts) -> Iterator[str]:
    """A retry is billed, so what was lost before it is not."""
    keyed = _under_keys(facts)
    for row in facts.settled:
        if row.billed and row.attempt in keyed:
            yield f"{row} is billed, and its call had a key"


def keys_make_one_request(facts: Facts) -> Iterator[str]:
    """However often it is handed in, what is queued under a key is one request."""
    for named in facts.named:
        if len(named.told | named.stored) != 1 or not named.stored:
            yield f"{named.key} made {sorted(named.stored)}, its callers were told {sorted(named.told)}"


def given_away(facts: Facts) -> set[str]:
    """The attempts that answer a key, and died with the news of it."""
    recorded, ended = {record.attempt for record in facts.completed}, facts.ended
    return {
        attempt
        for attempt in _told(facts) - recorded
        if (told := ended.get(attempt)) is not None
        and any(-1.0 <= kill.at - told.at <= GIVEN_AWAY_S + kill.held_back_s for kill in facts.kills)
    }


def _by_key(facts: Facts) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = defaultdict(list)
    for call in facts.calls:
        if call.key:
            found[call.key].append(call)
    return found


def _told(facts: Facts) -> set[str]:
    """The attempts whose answers keys tell."""
    attempts = {row.id: row.attempt for row in facts.engine}
    whole = [call for call in facts.calls if call.key and call.ended == "whole"]
    return {attempts.get(call.completion_id, f"{call.completion_id}, which nobody made.0") for call in whole}


def _under_keys(facts: Facts) -> set[str]:
    """The attempts that will be made again if they are lost, and are of no queued request."""
    queued = {final.request_id for final in facts.finals} | {one.request_id for one in facts.queued}
    return {name for name, row in facts.started.items() if row.queued and row.request not in queued}


CHECKS: tuple[Check, ...] = (
    keys_get_an_answer,
    retries_get_the_same_answer,
    keys_are_billed_once,
    lost_runs_under_keys_are_not_billed,
    keys_make_one_request,
)
