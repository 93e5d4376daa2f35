from random import Random

import pytest

from events.words import Invalid
from services.rehearsal.drills.faults import Fault
from services.rehearsal.drills.plans import UNDISTURBED, Hold, Phase, Plan, Plans, Rule

TOTAL = 20


def plans(seed: int = 0) -> Plans:
    return Plans(Random(seed))


@pytest.mark.parametrize(
    ("phase", "at"), [("accepted", -1), ("first_token", 0), ("after_tokens", 7), ("before_end", TOTAL)]
)
def test_a_hold_strikes_at_its_phase(phase: Phase, at: int) -> None:
    assert at == Hold(phase=phase, after_tokens=7).interruption(TOTAL).at


def test_a_hold_after_more_tokens_than_there_are_is_before_the_end() -> None:
    assert TOTAL == Hold(phase="after_tokens", after_tokens=99).interruption(TOTAL).at


def test_nothing_is_planned_unless_asked_for() -> None:
    plan = plans().plan(b"")
    assert UNDISTURBED == plan
    assert [] == list(plan.interruptions(TOTAL))


def test_holds_are_used_up_in_the_order_they_were_set() -> None:
    planned = plans()
    first, second = Hold(phase="accepted", count=2), Hold(phase="before_end")
    planned.add_hold(first)
    planned.add_hold(second)
    assert [first, first, second, None] == [planned.plan(b"").hold for _ in range(4)]


def test_holds_can_be_forgotten() -> None:
    planned = plans()
    planned.add_hold(Hold(phase="accepted", count=5))
    planned.forget_holds()
    assert UNDISTURBED == planned.plan(b"")


def test_a_rule_strikes_the_next_requests_only() -> None:
    planned = plans()
    planned.add_rule(Rule(fault="reset", n=3, count=2))
    planned.add_rule(Rule(fault="hang"))
    struck = [planned.plan(b"").fault for _ in range(4)]
    assert ["reset", "reset", "hang", None] == [fault and fault.fault for fault in struck]


def test_a_rule_with_a_probability_strikes_about_so_many_and_the_same_by_seed() -> None:
    def struck(seed: int) -> list[bool]:
        planned = plans(seed)
        planned.add_rule(Rule(fault="reset", probability=0.25))
        return [planned.plan(b"").fault is not None for _ in range(1000)]

    assert struck(1) == struck(1) != struck(2)
    assert 200 < sum(struck(1)) < 300


def test_rules_can_be_forgotten() -> None:
    planned = plans()
    planned.add_rule(Rule(fault="reset", probability=1.0))
    planned.forget_rules()
    assert UNDISTURBED == planned.plan(b"")


def test_a_request_can_wish_for_a_fault_and_uses_up_no_rule() -> None:
    planned = plans()
    planned.add_rule(Rule(fault="reset"))
    assert Plan(fault=Fault(fault="cut", n=5)) == planned.plan(b"cut:5")
    assert Rule(fault="reset") == planned.plan(b"").fault


def test_a_wish_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(Invalid, match="no fault 'explode'"):
        plans().plan(b"explode")


def test_a_request_that_is_refused_uses_up_no_hold() -> None:
    planned = plans()
    planned.add_hold(Hold(phase="accepted"))
    assert planned.plan(b"status:503").hold is None
    assert Hold(phase="accepted") == planned.plan(b"").hold


def test_hold_and_fault_can_meet() -> None:
    planned = plans()
    planned.add_hold(Hold(phase="first_token"))
    strikes = list(planned.plan(b"reset:4").interruptions(TOTAL))
    assert [0, 4] == [interruption.at for interruption in strikes]
