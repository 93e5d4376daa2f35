"""What dispatchers and routers say of one backend."""

from datetime import UTC, datetime, timedelta
from typing import Any

from events.fleet import (
    BackendCalls,
    BackendPressure,
    FleetReported,
    LaneLoad,
    LanePressure,
    Load,
    PressureReported,
    ReplicaCalls,
)

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def pressure(
    producer: str = "d1", *, window_s: float = 10, slots: int = 64, replicas: int = 1, **lane: Any
) -> PressureReported:
    """A dispatcher's report; `lane` is what it says of the interactive one."""
    lanes = (LanePressure(**({"lane": "interactive"} | lane)),)
    backend = BackendPressure(backend="pool", replicas=replicas, lanes=lanes)
    return PressureReported(producer=producer, window_s=window_s, slots=slots, backends=(backend,))


def calls(producer: str = "r1", *in_flight: float, window_s: float = 10) -> FleetReported:
    """A router's report, of as many replicas as there are figures."""
    replicas = tuple(
        ReplicaCalls(url=f"http://10.0.0.{number}:8000", in_flight=count)
        for number, count in enumerate(in_flight)
    )
    backends = (BackendCalls(backend="pool", replicas=replicas),)
    return FleetReported(producer=producer, window_s=window_s, backends=backends)


def lane_load(rate: float = 0.0, *, service_s: float = 6.0, **more: Any) -> LaneLoad:
    """A lane on which so many requests a second arrive, and go on doing so."""
    said = {"lane": "interactive", "arrivals_per_s": rate, "ahead_per_s": rate, "service_s": service_s}
    return LaneLoad(**(said | more))


def load(rate: float = 0.0, *, in_flight: float = 0.0, dispatch_slots: int = 10**6, **lane: Any) -> Load:
    """A backend's load, of one lane."""
    return Load(
        lanes=(lane_load(rate, **lane),),
        in_flight=in_flight,
        in_flight_ahead=in_flight,
        dispatch_slots=dispatch_slots,
    )
