"""What a process shows besides what it counts: read from its parts when somebody asks."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from events.config import Config
from events.fleet import PressureReported
from services.pool.pool import Pool
from services.pool.replica import Replica
from services.router.metrics import Gauge
from services.usage.recorder import UsageRecorder

STATES = ("closed", "open", "half_open")


class Call(Protocol):
    """A synchronous request under way."""

    @property
    def model(self) -> str:
        """The model it is at."""

    @property
    def place(self) -> tuple[str, str]:
        """The backend, and the base URL of the replica that is called."""


def in_flight(calls: Callable[[], Iterable[Call]], config: Callable[[], Config]) -> Gauge:
    """How many calls are under way by model and backend; 0 where there could be one."""

    def read() -> Mapping[tuple[str, ...], float]:
        places = (place for plan in config().plans.values() for place in plan.places)
        found: dict[tuple[str, ...], float] = {(place.model, place.backend): 0.0 for place in places}
        return found | dict(Counter((call.model, call.place[0]) for call in calls()))

    return read


def breakers(pool: Callable[[], Pool], config: Callable[[], Config]) -> Gauge:
    """The state of every replica's breaker."""

    def read() -> Mapping[tuple[str, ...], float]:
        found: dict[tuple[str, ...], float] = {}
        for name in config().backends:
            for replica in pool().replicas(name):
                now_in = state_of(replica)
                at = f"{replica.host}:{replica.port}"
                found.update({(name, at, state): float(state == now_in) for state in STATES})
        return found

    return read


def state_of(replica: Replica) -> str:
    """Whether it is called as any other, put aside, or due for a trial."""
    if not replica.aside_until:
        return "closed"
    return "open" if replica.now() < replica.aside_until else "half_open"


def queue(last: Callable[[], PressureReported | None]) -> dict[str, Gauge]:
    """What waits and since when, by the last report of pressure."""

    def waiting() -> Mapping[tuple[str, ...], float]:
        return {place: float(queued) for place, (queued, _) in told().items()}

    def oldest() -> Mapping[tuple[str, ...], float]:
        return {place: oldest_s for place, (_, oldest_s) in told().items()}

    def told() -> dict[tuple[str, ...], tuple[int, float]]:
        said = last()
        backends = said.backends if said is not None else ()
        return {(b.backend, one.lane): (one.queued, one.oldest_s) for b in backends for one in b.lanes}

    return {"queue_waiting": waiting, "queue_oldest": oldest}


def usage(recorder: UsageRecorder) -> dict[str, Gauge]:
    """How the usage records fare."""
    return {"usage_backlog": lambda: recorder.backlog, "usage_failing": lambda: float(recorder.failing)}
