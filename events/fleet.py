"""What is said about engines and their load: what waits, what runs, and the replicas that would take."""

from typing import ClassVar

from events.envelope import Event
from events.words import Lane, Record


class LanePressure(Record):
    """One lane of a backend's queue, as a dispatcher sees it at the end of its window.

    `queued`: how many requests wait for a slot, in the whole queue: dispatchers that share it all count the
    same ones. `oldest_s`: how long ago the oldest of them was created. `running`: how many requests this
    dispatcher ran, on average over the window. `arrived`: how many it heard of in the window. `finished`:
    how many of its own attempts brought a whole answer in the window. `service_s`: how long those took, on
    average, from claim to end; 0 where there were none. `output`: the tokens of their completions.
    """

    lane: Lane
    queued: int = 0
    oldest_s: float = 0.0
    running: float = 0.0
    arrived: int = 0
    finished: int = 0
    service_s: float = 0.0
    output: int = 0


class BackendPressure(Record):
    """What a dispatcher has to do for one backend. `replicas`: how many of them may be called. `lanes`: each
    lane of its queue.
    """

    backend: str
    replicas: int
    lanes: tuple[LanePressure, ...]


class PressureReported(Event):
    """What one dispatcher had to do, said every 10 s, also where it was nothing.

    `producer`: the process. `window_s`: how long its window is: it begins where the one before ended, or
    where the process began, and ends at the time of this event. What could not be published is part of the
    next window. `slots`: how many requests the process runs at once. `backends`: all that are configured.
    """

    about: ClassVar[str] = "producer"

    producer: str
    window_s: float
    slots: int
    backends: tuple[BackendPressure, ...]


class ReplicaCalls(Record):
    """`url`: the replica's base URL. `in_flight`: how many synchronous calls of this router were under way
    there, on average over the window.
    """

    url: str
    in_flight: float


class BackendCalls(Record):
    """The synchronous calls of one backend. `replicas`: all that may be called."""

    backend: str
    replicas: tuple[ReplicaCalls, ...]


class FleetReported(Event):
    """The synchronous calls of one router, said every 10 s in which there were any.

    `producer`: the process. `window_s`: how long its window is, which ends at the time of this event.
    `backends`: those that are configured.
    """

    about: ClassVar[str] = "producer"

    producer: str
    window_s: float
    backends: tuple[BackendCalls, ...]


class LaneLoad(Record):
    """What one lane asks of a backend, all dispatchers together.

    `arrivals_per_s`: measured over the last minute, on the batch lane over the last ten. `ahead_per_s`:
    expected once a replica asked for now would serve. `service_s`: how long an attempt takes, without what
    it waits inside an engine that is full. `assumed`: nobody measured that yet. `queued`: how many requests
    wait for a slot. `oldest_s`: how long ago the oldest of them was created. `running`: how many requests
    run.
    """

    lane: Lane
    arrivals_per_s: float = 0.0
    ahead_per_s: float = 0.0
    service_s: float = 0.0
    assumed: bool = False
    queued: int = 0
    oldest_s: float = 0.0
    running: float = 0.0


class Load(Record):
    """What is asked of a backend.

    `lanes`: of queued requests. `in_flight`: synchronous calls under way, on average over the last half
    minute. `in_flight_ahead`: the same once a replica asked for now would serve.
    `dispatch_slots`: how many queued requests all dispatchers may run at once.
    """

    lanes: tuple[LaneLoad, ...] = ()
    in_flight: float = 0.0
    in_flight_ahead: float = 0.0
    dispatch_slots: int = 0


class FleetAdvised(Event):
    """How many replicas a backend should have. It is advice: nothing is scaled by it.

    It is said when the number or its bounds change, and else once a minute. `wanted`: the replicas it
    should have. `now`: those that are known to be there. `min`: the fewest it may have. `max`: the most it
    may have. `reason`: why, as a sentence. `load`: what was measured; nothing where nobody reports.
    """

    about: ClassVar[str] = "backend"

    backend: str
    wanted: int
    now: int
    min: int
    max: int
    reason: str
    load: Load | None = None
