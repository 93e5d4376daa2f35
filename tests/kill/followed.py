"""What must hold of responses in the background, however often their readers had to resume."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.kill.facts import Check, Facts, Reading, Step

OPENING = 3  # events that follow from the request, and are the same whoever answers it
BEGUN_AGAIN = "answer_begun_again"


def readings_have_an_end(facts: Facts) -> Iterator[str]:
    """A reading ends with the response, or because its answer is begun again: the last one with the response,
    and no more of them in the other way than attempts were lost.
    """
    attempts = _attempts(facts)
    for request, readings in _by_request(facts).items():
        ends = [reading.ended for reading in readings]
        if set(ends) - {"whole", BEGUN_AGAIN} or ends[-1] != "whole":
            yield f"the readings of {request} ended in {ends}"
        if ends.count(BEGUN_AGAIN) >= attempts[request]:
            yield f"the readings of {request} ended in {ends}, and there were {attempts[request]} attempts"


def numbers_go_on_by_one(facts: Facts) -> Iterator[str]:
    """No event is missing or comes twice. Numbers jump only behind the opening, over a dead attempt's."""
    attempts = _attempts(facts)
    for reading in facts.readings:
        numbers = reading.numbers
        jumps = [(before, number) for before, number in pairwise(numbers) if number != before + 1]
        over_the_dead = attempts[reading.request_id] > 1
        allowed = [(OPENING - 1, number) for _, number in jumps[:1] if over_the_dead and number > OPENING]
        if numbers[:1] != [0] or jumps != allowed:
            yield f"{reading.request_id} was told 0 to {numbers[-1:]}, with the jumps {jumps}"


def a_number_is_one_event(facts: Facts) -> Iterator[str]:
    """Two readings are never told different things under the same number."""
    told: dict[tuple[str, int], set[int]] = defaultdict(set)
    for reading in facts.readings:
        for number, event in reading.told:
            told[reading.request_id, number].add(event)
    for (request, number), events in told.items():
        if len(events) > 1:
            yield f"event {number} of {request} was told in {len(events)} ways"


def readings_are_of_one_attempt(facts: Facts) -> Iterator[str]:
    """What two attempts said is never told as one answer; and a whole one is what its last event says."""
    steps = _journals(facts)
    for reading in facts.readings:
        of = {n: step.attempt for step in steps[reading.request_id] for n in range(step.first, step.next)}
        last = reading.numbers[-1:] if reading.ended == "whole" else []  # it stands in no journal
        told = {of.get(number) for number in reading.numbers if number >= OPENING and [number] != last}
        if len(told) > 1 or None in told:
            yield f"a reading of {reading.request_id} has events of the attempts {told}"
        if reading.ended == "whole" and reading.text != reading.whole:
            yield f"{reading.request_id} is {reading.whole!r}, and was told as {reading.text!r}"


def journals_are_one_row(facts: Facts) -> Iterator[str]:
    """Each place is taken once, behind all before it: numbers go on, and no attempt comes back."""
    for request, steps in _journals(facts).items():
        expected = OPENING
        for place, step in enumerate(steps):
            if (step.place, step.first) != (place, expected):
                yield f"{step} stands in the journal of {request} at {place}, behind event {expected - 1}"
            expected = step.next
        if [step.attempt for step in steps] != sorted(step.attempt for step in steps):
            yield f"an attempt at {request} came back: {steps}"


def _by_request(facts: Facts) -> dict[str, list[Reading]]:
    found: dict[str, list[Reading]] = defaultdict(list)
    for reading in facts.readings:
        found[reading.request_id].append(reading)
    return found


def _journals(facts: Facts) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = defaultdict(list)
    for step in facts.journal:
        found[step.request_id].append(step)
    return found


def _attempts(facts: Facts) -> dict[str, int]:
    """How many attempts were begun at a response, as far as anybody knows."""
    found: dict[str, int] = defaultdict(int)
    named = {row.attempt for row in facts.engine} | {f"{s.request_id}.{s.attempt}" for s in facts.journal}
    for attempt in named:
        request, _, number = attempt.rpartition(".")
        found[request] = max(found[request], int(number))
    return found


CHECKS: tuple[Check, ...] = (
    readings_have_an_end,
    numbers_go_on_by_one,
    a_number_is_one_event,
    readings_are_of_one_attempt,
    journals_are_one_row,
)
