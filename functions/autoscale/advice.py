"""How many replicas a backend should have, and the sentence that says why.

Little's law: as many slots are busy as requests arrive a second, times the seconds each keeps one. On top
come the slots that drain the queue in time, and those of synchronous calls. What was asked for and has
yet to boot is counted on; more is asked for where the queue would still be too long by the time that
more could serve. Fewer are advised only once fewer have been enough for a hold time.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from events.config import Fleet
from events.fleet import LaneLoad, Load
from events.words import Lane, Record

DRAIN_S: Final[dict[Lane, float]] = {"interactive": 60.0, "batch": 600.0}  # the longest a queue should take
BUSY: Final = 0.8  # how much of the time slots may be busy: chance needs the rest
BUSY_WITH_FEWER: Final = 0.65  # the same of those that are left, or chance would bring back the others
BUSY_AT_MOST: Final = 0.95  # and for a boot time after some were removed
HOLD_S: Final = 120.0  # hold at least so long, however fast replicas boot
OVERDUE: Final = 1.5  # boot times until a replica that was asked for is not counted on any more

_ROUNDING = 1e-9


class Wanted(Record):
    """A number of replicas, and when it was wanted."""

    at: datetime
    replicas: int


class Plan(Record):
    """What must be remembered of the advice that was given.

    `raised`: what was asked for and may still boot, oldest first. `needed`: the most replicas that were
    needed in the hold time before each moment; every one is later and smaller than the one before it.
    `lowered_at`: when fewer were last advised.
    """

    wanted: int
    raised: tuple[Wanted, ...] = ()
    needed: tuple[Wanted, ...] = ()
    lowered_at: datetime | None = None


class Advice(Record):
    """The plan to go on with, and why."""

    plan: Plan
    reason: str


class Capacity(Record):
    """How many slots serve from `in_s` seconds on."""

    in_s: float
    slots: int


def advise(
    plan: Plan | None, load: Load | None, *, there: int, fleet: Fleet, at: datetime, since: datetime | None
) -> Advice:
    """The advice at `at`, when `there` replicas are there. `load`: None where nothing is known, so that all
    stays as it is. `since`: from then on the queue was seen without a gap.
    """
    plan = Plan(wanted=there) if plan is None else plan
    plan = replace(plan, wanted=_within(plan.wanted, fleet))
    if load is None:
        return Advice(plan=plan, reason=f"{_replicas(plan.wanted)}, as before: nobody reports the load now.")
    lowered = plan.lowered_at is not None and (at - plan.lowered_at).total_seconds() < fleet.boot_s
    asked = asked_for(load, coming(plan, there, fleet, at), fleet, lowered=lowered)
    enough = enough_with(load, fleet)
    needed = max(asked, enough)
    known_s = (at - since).total_seconds() if since is not None and load.dispatch_slots else 0.0
    plan = _next(plan, _within(asked, fleet), _within(needed, fleet), fleet, at=at, known_s=known_s)
    bound, rest = _bound(plan.wanted, asked, needed, fleet), _rest(plan.wanted, needed, there, fleet)
    return Advice(plan=plan, reason=f"{_replicas(plan.wanted)}{bound}: {_facts(load)}{rest}.")


def asked_for(load: Load, coming: Sequence[Capacity], fleet: Fleet, *, lowered: bool = False) -> int:
    """The replicas that are needed by the time one asked for now would serve, however many are allowed.

    Where some were just removed (`lowered`), slots may be busier and no rise is thought to go on: it takes
    more than chance to bring them back.
    """
    load, busy = (_level(load), BUSY_AT_MOST) if lowered else (load, BUSY)
    work = work_ahead(load, coming, fleet.boot_s)
    queued = sum(_busy_ahead(lane) / busy + work[lane.lane] / DRAIN_S[lane.lane] for lane in load.lanes)
    return _holding(min(queued, load.dispatch_slots) + load.in_flight_ahead / busy, fleet)


def enough_with(load: Load, fleet: Fleet) -> int:
    """The replicas that would be enough, with room for chance, were they the only ones."""
    queued = min(_queued_now(load), load.dispatch_slots)
    return _holding(queued + load.in_flight / BUSY_WITH_FEWER, fleet)


def hold_time_s(fleet: Fleet) -> float:
    """How long fewer must have been enough before fewer are advised: a boot time at least, or a replica
    could be removed before it served.
    """
    return max(HOLD_S, fleet.boot_s)


def coming(plan: Plan, there: int, fleet: Fleet, at: datetime) -> list[Capacity]:
    """The slots that are there, and those that were asked for and boot."""
    found = [Capacity(in_s=0.0, slots=there * fleet.slots)]
    for raised in _booting(plan.raised, fleet, at):
        if raised.replicas > there:
            left_s = max(0.0, fleet.boot_s - (at - raised.at).total_seconds())
            found.append(Capacity(in_s=left_s, slots=raised.replicas * fleet.slots))
    return found


def work_ahead(load: Load, coming: Sequence[Capacity], ahead_s: float) -> dict[Lane, float]:
    """The work that will wait in `ahead_s` seconds, in slot-seconds: what waits, and what arrives until then,
    less what is served; interactive first.

    Where something has waited for longer than it ever should, capacity is not what it is thought to be:
    there, all that waits now is thought to wait still.
    """
    work = {lane.lane: _work(lane) for lane in load.lanes}
    ends = [step.in_s for step in coming[1:]] + [ahead_s]
    begins = [step.in_s for step in coming]
    for begin, end, step in zip(begins, ends, coming, strict=True):
        lasts_s = max(0.0, min(end, ahead_s) - begin)
        free = min(max(0.0, step.slots - load.in_flight), load.dispatch_slots) * lasts_s
        for lane in load.lanes:
            waits = work[lane.lane] + _busy(lane) * lasts_s
            served = min(waits, free)
            work[lane.lane], free = waits - served, free - served
    for lane in load.lanes:
        if lane.oldest_s > ahead_s + DRAIN_S[lane.lane]:
            work[lane.lane] = max(work[lane.lane], _work(lane))
    return work


def _next(plan: Plan, asked: int, needed_now: int, fleet: Fleet, *, at: datetime, known_s: float) -> Plan:
    hold_s = hold_time_s(fleet)
    needed = _most(plan.needed, Wanted(at=at, replicas=needed_now), at - timedelta(seconds=hold_s))
    raised = tuple(_booting(plan.raised, fleet, at))
    if asked > plan.wanted:
        raised = (*raised, Wanted(at=at, replicas=asked))
        return replace(plan, wanted=asked, raised=raised, needed=needed)
    if needed[0].replicas < plan.wanted and known_s >= hold_s:
        return Plan(wanted=needed[0].replicas, needed=needed, lowered_at=at)
    return replace(plan, raised=raised, needed=needed)


def _most(needed: Iterable[Wanted], latest: Wanted, oldest: datetime) -> tuple[Wanted, ...]:
    """With a new one: those before it that are not larger say nothing more, nor do those too old."""
    kept = [one for one in needed if one.at > oldest and one.replicas > latest.replicas]
    return (*kept, latest)


def _booting(raised: Iterable[Wanted], fleet: Fleet, at: datetime) -> list[Wanted]:
    longest = timedelta(seconds=OVERDUE * fleet.boot_s)
    return [one for one in raised if at - one.at < longest]


def _level(load: Load) -> Load:
    """The same, as if nothing rose."""
    lanes = tuple(replace(lane, ahead_per_s=lane.arrivals_per_s) for lane in load.lanes)
    return replace(load, lanes=lanes, in_flight_ahead=load.in_flight)


def _queued_now(load: Load) -> float:
    return sum(_busy(lane) / BUSY_WITH_FEWER + _work(lane) / DRAIN_S[lane.lane] for lane in load.lanes)


def _work(lane: LaneLoad) -> float:
    return lane.queued * lane.service_s


def _busy(lane: LaneLoad) -> float:
    return lane.arrivals_per_s * lane.service_s


def _busy_ahead(lane: LaneLoad) -> float:
    return lane.ahead_per_s * lane.service_s


def _holding(slots: float, fleet: Fleet) -> int:
    return math.ceil(slots / fleet.slots - _ROUNDING)


def _within(replicas: int, fleet: Fleet) -> int:
    return min(max(replicas, fleet.min), fleet.max)


# --- the sentence


def _bound(wanted: int, asked: int, needed: int, fleet: Fleet) -> str:
    if asked > wanted == fleet.max:
        return f", the most it may have though {asked} are needed"
    if needed < wanted == fleet.min:
        return ", the fewest it may have"
    return ""


def _facts(load: Load) -> str:
    arrivals = sum(lane.arrivals_per_s for lane in load.lanes)
    queued = sum(lane.queued for lane in load.lanes)
    facts = [_flow(load, arrivals)] if arrivals * 60 >= 0.05 else []
    if queued:
        oldest_s = max(lane.oldest_s for lane in load.lanes)
        facts.append(f"{queued} wait (the oldest for {_figure(oldest_s)} s)")
    if load.in_flight >= 0.05:
        facts.append(f"synchronous calls keep {_figure(load.in_flight)} slots busy")
    if not load.dispatch_slots:
        facts.append("no dispatcher reports the queue")
    elif _queued_now(load) > load.dispatch_slots:
        facts.append(f"dispatchers run {load.dispatch_slots} at once and no more")
    return ", ".join(facts) or "nothing arrives and nothing waits"


def _flow(load: Load, arrivals: float) -> str:
    busy = sum(map(_busy, load.lanes))
    assumed = any(lane.assumed and lane.arrivals_per_s for lane in load.lanes)
    each = f"{'an assumed ' if assumed else ''}{_figure(busy / arrivals)} s"
    return f"{_figure(arrivals * 60)} requests a minute at {each} each keep {_figure(busy)} slots busy"


def _rest(wanted: int, needed: int, there: int, fleet: Fleet) -> str:
    said = f"; a replica has {fleet.slots} slots"
    if there != wanted:
        said += f", {there} {'is' if there == 1 else 'are'} there"
    if needed < wanted > fleet.min:
        hold_s, enough = hold_time_s(fleet), max(needed, fleet.min)
        said += f", and {enough} will do once the load has been so low for {hold_s:g} s"
    return said


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"


def _figure(number: float) -> str:
    """Two digits, or all before the point."""
    if number >= 10:
        return f"{number:,.0f}"
    return f"{number:.2g}" if number >= 0.001 else "0"
