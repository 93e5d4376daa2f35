"""Takes in what dispatchers and routers report, and says how many replicas there should be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol, TypeAlias

from msgspec.structs import replace

from events.config import Backend, Config
from events.envelope import Envelope, Event
from events.fleet import BackendCalls, BackendPressure, FleetAdvised, FleetReported, PressureReported
from events.jobs import JobDue
from events.words import Conflict, Invalid
from functions.autoscale.measurement import Measured, Window, hear_dispatcher, hear_router
from functions.autoscale.standing import Standing, judged

TRIES = 5  # several processes may report at the same moment

# What is known of a backend's load after an event; None where that says nothing new.
_Hear: TypeAlias = Callable[[Measured, Backend], Measured | None]


class AdviceStore(Protocol):
    """What is remembered of each backend, with the latest advice."""

    async def standing(self, backend: str) -> tuple[Standing, int]:
        """What is remembered of a backend, and its version (0: nothing yet)."""

    async def put(self, standing: Standing, version: int) -> None:
        """Stores it if what is stored still has `version`; else raises `Conflict`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the autoscale function needs."""

    advice: AdviceStore
    config: Callable[[], Config]


async def handle(envelope: Envelope, ports: Ports) -> Sequence[Event]:
    """Judges every backend the event is about; one that is not configured any more is passed over, and
    so is a hosted one."""
    backends = {name: one for name, one in ports.config().backends.items() if one.url is None}
    answers = [
        await _renew(name, backends[name], hear, envelope, ports.advice)
        for name, hear in _heard(envelope, backends).items()
        if name in backends
    ]
    return [answer for answer in answers if answer is not None]


def _heard(envelope: Envelope, backends: Mapping[str, Backend]) -> dict[str, _Hear]:
    match envelope.event:
        case PressureReported() as report:
            window = Window(producer=report.producer, at=envelope.time, length_s=report.window_s)
            return {part.backend: partial(_of_dispatcher, report, part, window) for part in report.backends}
        case FleetReported() as report:
            window = Window(producer=report.producer, at=envelope.time, length_s=report.window_s)
            return {part.backend: partial(_of_router, part, window) for part in report.backends}
        case JobDue(job="advise"):
            return dict.fromkeys(sorted(backends), _nobody)
        case _:
            raise Invalid(f"The autoscale function does not consume {envelope.type} ({envelope.subject}).")


def _of_dispatcher(
    report: PressureReported, part: BackendPressure, window: Window, measured: Measured, backend: Backend
) -> Measured | None:
    return hear_dispatcher(measured, part, window, slots=report.slots, replica_slots=backend.fleet.slots)


def _of_router(part: BackendCalls, window: Window, measured: Measured, backend: Backend) -> Measured | None:
    return hear_router(measured, part, window)


def _nobody(measured: Measured, backend: Backend) -> Measured:
    return measured


async def _renew(
    name: str, backend: Backend, hear: _Hear, envelope: Envelope, store: AdviceStore
) -> FleetAdvised | None:
    """Brings one backend's standing up to date; what follows is to be said. Delivered again, an event changes
    nothing, and what it led to is said again.
    """
    for tries_left in reversed(range(TRIES)):
        standing, version = await store.standing(name)
        if (said := standing.answer_to(envelope.id)) is not None:
            return said
        measured = hear(standing.measured, backend)
        if measured is None or _is_past(envelope.time, measured, standing):
            return None
        renewed = judged(replace(standing, measured=measured), backend, cause=envelope.id, at=envelope.time)
        try:
            await store.put(renewed, version)
        except Conflict:
            if not tries_left:
                raise
        else:
            return renewed.answer_to(envelope.id)
    return None


def _is_past(at: datetime, measured: Measured, standing: Standing) -> bool:
    """Whether nothing is new but the time, and not even that."""
    return measured is standing.measured and standing.at is not None and at <= standing.at
