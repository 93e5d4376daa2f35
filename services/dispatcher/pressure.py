"""Says every ten seconds what a dispatcher has to do: what waits, runs, arrived and was finished."""

import asyncio
import logging
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, TypeAlias, get_args

from events.bus import Publisher, message_of
from events.config import Config
from events.envelope import wrap
from events.fleet import BackendPressure, LanePressure, PressureReported
from events.requests import RequestDocument
from events.usage import Completed
from events.words import Lane, PenstockError
from services.pool.pool import Pool

REPORT_EVERY_S = 10.0
SOURCE = "/dispatcher"
LANES: Final[tuple[Lane, ...]] = get_args(Lane)

Place: TypeAlias = tuple[str, Lane]  # a backend and a lane of its queue

log = logging.getLogger("penstock.dispatcher")


@dataclass(slots=True)
class Counts:
    """What happened at one place in a window. Times in seconds, each the sum over all its requests."""

    arrived: int = 0
    finished: int = 0
    service_s: float = 0.0
    output: int = 0
    ran_s: float = 0.0

    def add(self, other: "Counts") -> None:
        """Takes in another window's."""
        self.arrived += other.arrived
        self.finished += other.finished
        self.service_s += other.service_s
        self.output += other.output
        self.ran_s += other.ran_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What happened between two readings of the clock."""

    began: float
    ended: float
    counts: dict[Place, Counts] = field(default_factory=dict)

    @property
    def length_s(self) -> float:
        """How long it is; a clock may be too coarse to see it."""
        return max(self.ended - self.began, 1e-3)


class Tally:
    """Counts what a dispatcher does, in windows that follow each other without a gap."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._seen = clock()
        self._counts: defaultdict[Place, Counts] = defaultdict(Counts)
        self._running: Counter[Place] = Counter()

    def arrived(self, backend: str, lane: Lane) -> None:
        """A doorbell rang."""
        self._counts[backend, lane].arrived += 1

    def began(self, document: RequestDocument) -> None:
        """A request runs here from now on."""
        self._see()
        self._running[_place(document)] += 1

    def ended(self, document: RequestDocument, completed: Completed | None) -> None:
        """It runs here no more. `completed`: what was recorded of its attempt, if anything was."""
        self._see()
        place = _place(document)
        self._running[place] -= 1
        if completed is not None and completed.outcome == "finished":
            counts = self._counts[place]
            counts.finished += 1
            counts.service_s += completed.duration_ms / 1000
            counts.output += completed.usage.output

    def take(self) -> Window:
        """What happened since the last time; the next window begins now."""
        self._see()
        taken = Window(began=self._began, ended=self._seen, counts=dict(self._counts))
        self._began, self._counts = self._seen, defaultdict(Counts)
        return taken

    def put_back(self, window: Window) -> None:
        """Nobody heard of that window, so the present one begins where it did."""
        self._began = window.began
        for place, counts in window.counts.items():
            self._counts[place].add(counts)

    def _see(self) -> None:
        now = self._clock()
        for place, running in self._running.items():
            if running:
                self._counts[place].ran_s += running * (now - self._seen)
        self._seen = now


def _place(document: RequestDocument) -> Place:
    return document.backend or "", document.lane


class Queue(Protocol):
    """The queue all dispatchers share."""

    async def queued(self, backend: str, lane: Lane) -> tuple[int, datetime | None]:
        """How many requests wait there for a slot, and when the oldest of them was created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the reporter needs. `producer` names this process, which runs at most `slots` requests at once."""

    queue: Queue
    publisher: Publisher
    pool: Callable[[], Pool]
    config: Callable[[], Config]
    now: Callable[[], datetime]
    producer: str
    slots: int


class PressureReporter:
    """Publishes a tally's windows."""

    def __init__(self, tally: Tally, ports: Ports, every_s: float = REPORT_EVERY_S) -> None:
        self._tally = tally
        self._ports = ports
        self._every_s = every_s
        self.last: PressureReported | None = None  # what was said

    async def run(self) -> None:
        """Until cancelled; whatever goes wrong with one report, the next one may succeed."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.report()
            except PenstockError as error:
                log.warning("the pressure is not reported: %s", error)
            except Exception:
                log.exception("the pressure is not reported")

    async def report(self) -> None:
        """Says what happened since the last report that succeeded. Raises `Unavailable`."""
        window = self._tally.take()
        try:
            await self._publish(window)
        except BaseException:
            self._tally.put_back(window)
            raise

    async def _publish(self, window: Window) -> None:
        ports, now, pool = self._ports, self._ports.now(), self._ports.pool()
        event = PressureReported(
            producer=ports.producer,
            window_s=window.length_s,
            slots=ports.slots,
            backends=tuple(
                [await self._backend(name, pool, window, now) for name in ports.config().backends]
            ),
        )
        envelope = wrap(event, id=secrets.token_hex(16), source=SOURCE, time=now)
        self.last = event
        await ports.publisher.publish([message_of(envelope)])

    async def _backend(self, name: str, pool: Pool, window: Window, now: datetime) -> BackendPressure:
        return BackendPressure(
            backend=name,
            replicas=len(pool.replicas(name)),
            lanes=tuple([await self._lane(name, lane, window, now) for lane in LANES]),
        )

    async def _lane(self, backend: str, lane: Lane, window: Window, now: datetime) -> LanePressure:
        queued, oldest_at = await self._ports.queue.queued(backend, lane)
        counts = window.counts.get((backend, lane), Counts())
        return LanePressure(
            lane=lane,
            queued=queued,
            oldest_s=0.0 if oldest_at is None else max(0.0, (now - oldest_at).total_seconds()),
            running=counts.ran_s / window.length_s,
            arrived=counts.arrived,
            finished=counts.finished,
            service_s=counts.service_s / counts.finished if counts.finished else 0.0,
            output=counts.output,
        )
