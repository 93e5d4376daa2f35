"""Which requests are held and which suffer a fault."""

from collections.abc import Iterable
from random import Random
from typing import Literal

from events.words import Record
from services.rehearsal.drills.faults import BEFORE_JOINING, Fault, Interruption, asked_by

Phase = Literal["accepted", "first_token", "after_tokens", "before_end"]


class Hold(Record, forbid_unknown_fields=True):
    """The next `count` requests wait at a phase: once accepted (in no queue yet), with their prompt read,
    with `after_tokens` tokens sent, or with all tokens sent and the end not.
    """

    phase: Phase
    after_tokens: int = 0
    count: int = 1

    def interruption(self, total: int) -> Interruption:
        """Where it stops an answer of `total` tokens."""
        at = {
            "accepted": BEFORE_JOINING,
            "first_token": 0,
            "after_tokens": max(0, min(self.after_tokens, total)),
            "before_end": total,
        }
        return Interruption(at[self.phase], lambda answer: answer.hold(self.phase))


class Rule(Fault, forbid_unknown_fields=True):
    """Which requests suffer a fault: the next `count` of them; or any, where it has a probability."""

    probability: float | None = None
    count: int = 1


class Plan(Record):
    """What is to happen to one request."""

    fault: Fault | None = None
    hold: Hold | None = None

    def interruptions(self, total: int) -> Iterable[Interruption]:
        """As they strike an answer of `total` tokens."""
        return [part.interruption(total) for part in (self.hold, self.fault) if part is not None]


UNDISTURBED = Plan()


class Plans:
    """The holds and rules that are set; those with a count are used up as requests come."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._holds: list[Hold] = []
        self._rules: list[Rule] = []

    def add_hold(self, hold: Hold) -> None:
        """Later ones wait until earlier ones are used up."""
        self._holds += [hold] * hold.count

    def add_rule(self, rule: Rule) -> None:
        """Of several rules, the first that applies does."""
        if rule.probability is None:
            self._rules += [rule] * rule.count
        else:
            self._rules.append(rule)

    def forget_holds(self) -> None:
        """No further request is held."""
        self._holds.clear()

    def forget_rules(self) -> None:
        """No further request suffers, but by its own wish."""
        self._rules.clear()

    def plan(self, wish: bytes) -> Plan:
        """For one request, `wish` being its fault header; raises `Invalid` where that cannot be read."""
        fault = asked_by(wish) if wish else self._next_fault()
        refused = fault is not None and fault.refusal() is not None  # so there is nothing to hold
        return Plan(fault=fault, hold=None if refused or not self._holds else self._holds.pop(0))

    def _next_fault(self) -> Fault | None:
        for rule in self._rules:
            if rule.probability is None:
                self._rules.remove(rule)
                return rule
            if self._dice.random() < rule.probability:
                return rule
        return None
