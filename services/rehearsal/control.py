"""The strings tests and drills pull: answers held at a phase, faults injected."""

from collections.abc import Callable, Iterable, Set
from random import Random
from typing import Literal

import msgspec

from events.words import Invalid, Problem, Record
from services.front.call import JSON, Call, Reply
from services.rehearsal.answer import BEFORE_JOINING, Answer
from services.rehearsal.faults import Fault, Interruption, asked_by, checked
from services.rehearsal.schedule.slots import Slots
from services.router.errors import error_body

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
            "after_tokens": min(self.after_tokens, total),
            "before_end": total,
        }
        return Interruption(at[self.phase], lambda answer: answer.hold(self.phase))


class Rule(Fault, forbid_unknown_fields=True):
    """Which requests suffer a fault: any, with a probability, or the next `count` of them (1)."""

    probability: float | None = None
    count: int | None = None


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
            once = msgspec.structs.replace(rule, probability=1.0, count=1)
            self._rules += [once] * (1 if rule.count is None else rule.count)
        else:
            self._rules.append(msgspec.structs.replace(rule, count=None))

    def forget_holds(self) -> None:
        """No further request is held."""
        self._holds.clear()

    def forget_rules(self) -> None:
        """No further request suffers, but by its own wish."""
        self._rules.clear()

    def plan(self, wish: bytes) -> Plan:
        """For one request, `wish` being its fault header; raises `Invalid` where that cannot be read."""
        fault = asked_by(wish) if wish else self._next_fault()
        return Plan(fault=fault, hold=self._holds.pop(0) if self._holds else None)

    def _next_fault(self) -> Fault | None:
        for rule in self._rules:
            if self._dice.random() < (rule.probability or 0):
                if rule.count:
                    self._rules.remove(rule)
                return rule
        return None


class Control:
    """Endpoints under `/rehearsal/`."""

    def __init__(self, plans: Plans, answers: Set[Answer], slots: Slots) -> None:
        self._plans = plans
        self._answers = answers
        self._slots = slots
        self.routes: dict[tuple[bytes, bytes], Callable[[Call, Reply], None]] = {
            (b"POST", b"/rehearsal/hold"): self._hold,
            (b"POST", b"/rehearsal/release"): self._release,
            (b"POST", b"/rehearsal/faults"): self._add_fault,
            (b"DELETE", b"/rehearsal/faults"): self._forget_faults,
            (b"GET", b"/rehearsal/state"): self._state,
        }

    def _hold(self, call: Call, reply: Reply) -> None:
        self._take(call, reply, Hold, self._plans.add_hold)

    def _add_fault(self, call: Call, reply: Reply) -> None:
        self._take(call, reply, Rule, lambda rule: self._plans.add_rule(_checked(rule)))

    def _take[T](self, call: Call, reply: Reply, kind: type[T], use: Callable[[T], None]) -> None:
        ...
