"""What all dispatchers and routers report of one backend, added up to the load it is under.

Reports may come late, twice, in any order, and from processes that come and go. Each counts once, in
spans of ten seconds; one that is too old to matter counts no more. Clocks are thought to agree within
seconds.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeVar, get_args

from msgspec.structs import replace

from events.fleet import BackendCalls, BackendPressure, LaneLoad, LanePressure, Load
from events.words import Lane, Record

SILENT_S: Final = 30.0  # a process that has not reported for so long is gone
SPAN_S: Final = 10  # counts are kept in spans of so long
KEPT_S: Final = 600.0
ANSWERS: Final = 50.0  # an attempt's average time goes by about so many answers
ASSUMED_S: Final = 10.0  # what an attempt is thought to take while nobody knows
DAMPED: Final = 0.5  # how much of a rise is thought to go on
STEEPEST: Final = 2.0  # more than so many times the level is not expected of a rise
LANES: Final[tuple[Lane, ...]] = get_args(Lane)

# Rates are averages over so long. What comes at once on the batch lane may be served as slowly as that.
LEVEL_S: Final[dict[Lane, float]] = {"interactive": 60.0, "batch": KEPT_S}
IN_FLIGHT_LEVEL_S: Final = 30.0

_ENORMOUS = 1e9

Number = TypeVar("Number", int, float)


class Heard(Record):
    """The last report of a dispatcher; `at` is the end of its window."""

    at: datetime
    slots: int
    lanes: tuple[LanePressure, ...]


class Span(Record):
    """What was counted in ten seconds, all processes together. `number`: how many spans lie between it and
    1970. `in_flight_s`: what all synchronous calls took in it.
    """

    number: int
    arrived: dict[Lane, float] = {}
    in_flight_s: float = 0.0


class Service(Record):
    """How long an attempt takes on average. `answers`: how many that goes by, at most `ANSWERS`."""

    mean_s: float = 0.0
    answers: float = 0.0


class Measured(Record):
    """All that must be remembered of a backend's load.

    `since`: from then on the windows of reports leave no gap. `queue_since`: from then on dispatchers, who
    alone see the queue, have reported without a gap. `at`: the end of the latest window. `replicas`: as they
    were reported last. `dispatchers`, `routers`: those not gone, by process; of routers the end of their
    window.
    """

    since: datetime | None = None
    queue_since: datetime | None = None
    at: datetime | None = None
    replicas: int | None = None
    dispatchers: dict[str, Heard] = {}
    routers: dict[str, datetime] = {}
    spans: tuple[Span, ...] = ()
    service: dict[Lane, Service] = {}

    def silent(self, now: datetime) -> bool:
        """Whether nobody has reported for so long that nothing is known."""
        return self.at is None or _gone(self.at, now)


class Window(Record):
    """When and from whom a report is: the `length_s` seconds before `at`."""

    producer: str
    at: datetime
    length_s: float

    @property
    def bounded_s(self) -> float:
        """Its length, where that can be one; else the usual one."""
        return min(max(self.length_s, 0.1), 3600.0) if self.length_s > 0 else float(SPAN_S)

    @property
    def begin(self) -> datetime:
        """When it begins."""
        return self.at - timedelta(seconds=self.bounded_s)


def hear_dispatcher(
    measured: Measured, pressure: BackendPressure, window: Window, *, slots: int, replica_slots: int
) -> Measured | None:
    """Takes in a dispatcher's report; None where it says nothing new."""
    known = measured.dispatchers.get(window.producer)
    if _too_late(measured, None if known is None else known.at, window.at):
        return None
    heard = Heard(at=window.at, slots=_bounded(slots), lanes=tuple(map(_sane, pressure.lanes)))
    others = [other.at for other in measured.dispatchers.values()]
    gap = not others or _gone(max(others), window.at)
    measured = _noticed(measured, window, pressure.replicas)
    measured = replace(
        measured,
        queue_since=window.at if gap else measured.queue_since,
        dispatchers=measured.dispatchers | {window.producer: heard},
    )
    crowd = _crowd(measured.dispatchers.values(), _bounded(pressure.replicas) * replica_slots)
    service = {lane.lane: _averaged(measured.service, lane, crowd) for lane in heard.lanes if lane.finished}
    counted = Span(number=0, arrived={lane.lane: lane.arrived for lane in heard.lanes})
    return replace(measured, service=measured.service | service, spans=_spread(measured, counted, window))


def hear_router(measured: Measured, calls: BackendCalls, window: Window) -> Measured | None:
    """Takes in a router's report; None where it says nothing new."""
    if _too_late(measured, measured.routers.get(window.producer), window.at):
        return None
    measured = _noticed(measured, window, len(calls.replicas))
    in_flight = sum(_bounded(replica.in_flight) for replica in calls.replicas)
    counted = Span(number=0, in_flight_s=in_flight * window.bounded_s)
    return replace(
        measured,
        routers=measured.routers | {window.producer: window.at},
        spans=_spread(measured, counted, window),
    )


def load(measured: Measured, now: datetime, ahead_s: float) -> Load | None:
    """The load at `now`, and what to expect `ahead_s` later; None where nothing is known."""
    if measured.silent(now):
        return None
    live = [heard for heard in measured.dispatchers.values() if not _gone(heard.at, now)]
    in_flight, in_flight_ahead = _rates(
        measured, _in_flight_s, IN_FLIGHT_LEVEL_S, ahead_s, per_event=IN_FLIGHT_LEVEL_S
    )
    return Load(
        lanes=tuple(_lane(lane, measured, live, ahead_s) for lane in LANES),
        in_flight=in_flight,
        in_flight_ahead=in_flight_ahead,
        dispatch_slots=sum(heard.slots for heard in live),
    )


# --- what is taken in


def _too_late(measured: Measured, known: datetime | None, at: datetime) -> bool:
    """Whether a report was heard before, or is of a process that must be thought gone."""
    return (known is not None and at <= known) or (measured.at is not None and _gone(at, measured.at))


def _gone(last: datetime, now: datetime) -> bool:
    return now - last > timedelta(seconds=SILENT_S)


def _noticed(measured: Measured, window: Window, replicas: int) -> Measured:
    """Somebody reports: the gap, if there was one, is over."""
    before = measured.at
    latest = window.at if before is None else max(before, window.at)
    since = None if before is None or _gone(before, window.begin) else measured.since
    return replace(
        measured,
        since=window.begin if since is None else min(since, window.begin),
        at=latest,
        replicas=_bounded(replicas) if latest == window.at else measured.replicas,
        dispatchers={name: h for name, h in measured.dispatchers.items() if not _gone(h.at, latest)},
        routers={name: at for name, at in measured.routers.items() if not _gone(at, latest)},
    )


def _sane(lane: LanePressure) -> LanePressure:
    return LanePressure(
        lane=lane.lane,
        queued=_bounded(lane.queued),
        oldest_s=_bounded(lane.oldest_s),
        running=_bounded(lane.running),
        arrived=_bounded(lane.arrived),
        finished=_bounded(lane.finished),
        service_s=_bounded(lane.service_s),
    )


def _bounded(number: Number) -> Number:
    """No less than nothing, no more than can be, and nothing where it is no number."""
    return min(number, type(number)(_ENORMOUS)) if number > 0 else type(number)(0)


def _crowd(dispatchers: Iterable[Heard], slots_there: int) -> float:
    """How many run for each slot there is: where it is more than one, they take turns inside the engines,
    and an attempt takes that much longer than its work.
    """
    running = sum(lane.running for heard in dispatchers for lane in heard.lanes)
    return max(1.0, running / slots_there) if slots_there else 1.0


def _averaged(known: Mapping[Lane, Service], lane: LanePressure, crowd: float) -> Service:
    service = known.get(lane.lane, Service())
    answers = min(service.answers + lane.finished, ANSWERS)
    weight = min(1.0, lane.finished / answers)
    mean_s = service.mean_s + weight * (lane.service_s / crowd - service.mean_s)
    return Service(mean_s=mean_s, answers=answers)


def _spread(measured: Measured, counted: Span, window: Window) -> tuple[Span, ...]:
    """The spans with what was counted in a window, each its share; those too old to matter are dropped."""
    assert measured.at is not None
    oldest = math.floor((measured.at.timestamp() - KEPT_S) / SPAN_S)
    spans = {span.number: span for span in measured.spans if span.number >= oldest}
    begin, end = window.begin.timestamp(), window.at.timestamp()
    for number in range(max(oldest, math.floor(begin / SPAN_S)), math.floor(end / SPAN_S) + 1):
        share = _overlap(number, begin, end) / window.bounded_s
        if share > 0:
            spans[number] = _added(spans.get(number, Span(number=number)), counted, share)
    return tuple(spans[number] for number in sorted(spans))


def _overlap(number: int, begin: float, end: float) -> float:
    return max(0.0, min((number + 1) * SPAN_S, end) - max(number * SPAN_S, begin))


def _added(span: Span, counted: Span, share: float) -> Span:
    arrived = {
        lane: span.arrived.get(lane, 0.0) + counted.arrived.get(lane, 0.0) * share
        for lane in LANES
        if lane in span.arrived or counted.arrived.get(lane)
    }
    return replace(span, arrived=arrived, in_flight_s=span.in_flight_s + counted.in_flight_s * share)


# --- what follows

_What = Callable[[Span], float]


def _in_flight_s(span: Span) -> float:
    return span.in_flight_s


def _lane(lane: Lane, measured: Measured, live: Iterable[Heard], ahead_s: float) -> LaneLoad:
    """All count the same queue, so its latest count holds; what runs is each dispatcher's own."""
    latest, running = LanePressure(lane=lane), 0.0
    for heard in sorted(live, key=lambda heard: heard.at):
        mine = next((one for one in heard.lanes if one.lane == lane), LanePressure(lane=lane))
        latest, running = mine, running + mine.running
    arrivals, ahead = _rates(measured, lambda span: span.arrived.get(lane, 0.0), LEVEL_S[lane], ahead_s)
    known = measured.service.get(lane) or next(iter(measured.service.values()), None)
    return LaneLoad(
        lane=lane,
        arrivals_per_s=arrivals,
        ahead_per_s=ahead,
        service_s=ASSUMED_S if known is None else known.mean_s,
        assumed=known is None,
        queued=latest.queued,
        oldest_s=latest.oldest_s,
        running=running,
    )


def _rates(
    measured: Measured, what: _What, level_s: float, ahead_s: float, *, per_event: float = 1.0
) -> tuple[float, float]:
    """A rate over the last `level_s` seconds, and the one to expect `ahead_s` later.

    A rise goes on, damped, where chance does not explain it: where it is more than three times the deviation
    that independent events have. `per_event`: how much of what is counted one event may make.
    """
    assert measured.at is not None
    assert measured.since is not None
    end = measured.at.timestamp()
    level = _sum(measured, what, end - level_s, end) / level_s
    known_s = min(KEPT_S, end - measured.since.timestamp())
    if known_s < 2 * level_s:
        return level, level
    before = _sum(measured, what, end - 2 * level_s, end - level_s) / level_s
    rise = level - before
    if rise * level_s / per_event <= 3 * math.sqrt((level + before) * level_s / per_event):
        return level, level
    return level, min(level + DAMPED * rise * ahead_s / level_s, STEEPEST * level)


def _sum(measured: Measured, what: _What, begin: float, end: float) -> float:
    """Between two times; of a span that lies there in part, its share."""
    assert measured.at is not None
    latest = measured.at.timestamp()
    total = 0.0
    for span in measured.spans:
        length = _overlap(span.number, 0.0, latest)  # of the newest only what was reported so far
        if length > 0:
            total += what(span) * _overlap(span.number, begin, end) / length
    return total
