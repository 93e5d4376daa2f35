"""What is kept of a backend between two events: its measured load, the plan, and what was advised."""

from datetime import datetime

from msgspec.structs import replace

from events.config import Backend
from events.fleet import FleetAdvised
from events.words import Record
from functions.autoscale.advice import Plan, advise
from functions.autoscale.measurement import Measured, load

TELL_EVERY_S = 60.0
TOLD = 8  # events handled lately whose advice is told again should they be delivered again


class Told(Record):
    """What was said, and the id of the event it answered."""

    cause: str
    at: datetime
    advised: FleetAdvised


class Standing(Record):
    """All that is remembered of one backend.

    `advised`: the latest advice, of the time `at`. `told`: what was said lately, newest last.
    """

    backend: str
    measured: Measured = Measured()
    plan: Plan | None = None
    advised: FleetAdvised | None = None
    at: datetime | None = None
    told: tuple[Told, ...] = ()
    schema: int = 1

    def answer_to(self, cause: str) -> FleetAdvised | None:
        """What was said when this event was handled, if anything was."""
        return next((told.advised for told in self.told if told.cause == cause), None)


def judged(standing: Standing, backend: Backend, *, cause: str, at: datetime) -> Standing:
    """The standing with the advice that follows at `at`, told where there is news or it is time."""
    at = at if standing.at is None else max(at, standing.at)
    measured, fleet = standing.measured, backend.fleet
    there = len(backend.replicas) if measured.replicas is None else measured.replicas
    found = load(measured, at, fleet.boot_s)
    advice = advise(standing.plan, found, there=there, fleet=fleet, at=at, since=measured.queue_since)
    advised = FleetAdvised(
        backend=standing.backend,
        wanted=advice.plan.wanted,
        now=there,
        min=fleet.min,
        max=fleet.max,
        reason=advice.reason,
        load=found,
    )
    told = standing.told
    if _is_news(advised, at, told[-1] if told else None):
        told = (*told, Told(cause=cause, at=at, advised=advised))[-TOLD:]
    return replace(standing, plan=advice.plan, advised=advised, at=at, told=told)


def _is_news(advised: FleetAdvised, at: datetime, last: Told | None) -> bool:
    if last is None or (at - last.at).total_seconds() >= TELL_EVERY_S:
        return True
    before = last.advised
    return (advised.wanted, advised.min, advised.max) != (before.wanted, before.min, before.max)
