"""A backend in virtual time: requests come, wait and are served by replicas that boot; dispatchers report,
and what the autoscale function advises is done.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from events.config import Backend, Config, Fleet
from events.envelope import Event, wrap
from events.fleet import BackendPressure, FleetAdvised, LanePressure, PressureReported
from events.jobs import JobDue
from events.words import Lane, hashed_id
from functions.autoscale.handler import Ports, handle
from services.adapters.memory.advice import MemoryAdvice

START = datetime(2027, 3, 1, 12, tzinfo=UTC)
REPORT_EVERY_S = 10
JOB_EVERY_S = 60

Rate = Callable[[int], float]  # requests a second, by the second


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What there was in one second."""

    second: int
    queued: int
    running: int
    there: int
    wanted: int


@dataclass(slots=True, kw_only=True)
class Dispatcher:
    """One that reports; `slots` bounds what it runs."""

    name: str
    slots: int = 256
    arrived: int = 0
    finished: list[float] = field(default_factory=list)
    ends: list[tuple[float, float]] = field(default_factory=list)  # and how long it will have taken
    ran_s: int = 0


@dataclass(kw_only=True)
class Simulation:
    """`run` it as often as you like; `moments` is what happened."""

    fleet: Fleet
    rate: Rate
    service_s: float = 6.0
    there: int = 1
    dispatchers: int = 1
    lane: Lane = "interactive"
    obeyed: bool = True
    boots_in_s: float | None = None  # None: as the fleet says
    seed: int = 0
    second: int = 0
    moments: list[Moment] = field(default_factory=list)
    told: list[FleetAdvised] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = MemoryAdvice()
        self.wanted = self.there
        self._random = Random(self.seed)
        self._queue: deque[int] = deque()
        self._booting: list[float] = []
        self._living = [Dispatcher(name=f"d{number}") for number in range(self.dispatchers)]
        backend = Backend(replicas=("http://10.0.0.5:8000",), fleet=self.fleet)
        self._ports = Ports(advice=self.store, config=lambda: Config(backends={"pool": backend}, models={}))

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.second)

    async def run(self, seconds: int) -> list[Moment]:
        """Goes on for so long; what happened meanwhile."""
        begin = len(self.moments)
        for _ in range(seconds):
            self.second += 1
            self._boot()
            self._come()
            self._end()
            self._begin()
            if self.second % REPORT_EVERY_S == 0:
                await self._report()
            if self.second % JOB_EVERY_S == JOB_EVERY_S // 2:
                await self._say(JobDue(job="advise", slot=self.now))
            running = sum(len(dispatcher.ends) for dispatcher in self._living)
            self.moments.append(
                Moment(
                    second=self.second,
                    queued=len(self._queue),
                    running=running,
                    there=self.there,
                    wanted=self.wanted,
                )
            )
        return self.moments[begin:]

    def restart(self) -> None:
        """All dispatchers are replaced by new ones, which go on with what runs."""
        for dispatcher in self._living:
            dispatcher.name += "'"
            dispatcher.arrived, dispatcher.finished, dispatcher.ran_s = 0, [], 0

    def _boot(self) -> None:
        ready = [at for at in self._booting if at <= self.second]
        self._booting = [at for at in self._booting if at > self.second]
        self.there += len(ready)

    def _come(self) -> None:
        for _ in range(self._poisson(self.rate(self.second))):
            self._queue.append(self.second)
            self._random.choice(self._living).arrived += 1

    def _poisson(self, mean: float) -> int:
        limit, product, count = math.exp(-mean), self._random.random(), 0
        while product > limit:
            product *= self._random.random()
            count += 1
        return count

    def _end(self) -> None:
        for dispatcher in self._living:
            dispatcher.ran_s += len(dispatcher.ends)
            while dispatcher.ends and dispatcher.ends[0][0] <= self.second:
                dispatcher.finished.append(heapq.heappop(dispatcher.ends)[1])

    def _begin(self) -> None:
        free = self.there * self.fleet.slots - sum(len(dispatcher.ends) for dispatcher in self._living)
        while self._queue and free > 0:
            able = [one for one in self._living if len(one.ends) < one.slots]
            if not able:
                return
            self._queue.popleft()
            takes_s = self._random.uniform(0.5, 1.5) * self.service_s
            heapq.heappush(min(able, key=lambda one: len(one.ends)).ends, (self.second + takes_s, takes_s))
            free -= 1

    async def _report(self) -> None:
        for dispatcher in self._living:
            lane = LanePressure(
                lane=self.lane,
                queued=len(self._queue),
                oldest_s=float(self.second - self._queue[0]) if self._queue else 0.0,
                running=dispatcher.ran_s / REPORT_EVERY_S,
                arrived=dispatcher.arrived,
                finished=len(dispatcher.finished),
                service_s=sum(dispatcher.finished) / len(dispatcher.finished) if dispatcher.finished else 0.0,
            )
            dispatcher.arrived, dispatcher.finished, dispatcher.ran_s = 0, [], 0
            backend = BackendPressure(backend="pool", replicas=self.there, lanes=(lane,))
            await self._say(
                PressureReported(
                    producer=dispatcher.name,
                    window_s=REPORT_EVERY_S,
                    slots=dispatcher.slots,
                    backends=(backend,),
                )
            )

    async def _say(self, event: Event) -> None:
        name = hashed_id((str(self.second), str(event)))
        for told in await handle(wrap(event, id=name, source="/test", time=self.now), self._ports):
            assert isinstance(told, FleetAdvised)
            self.told.append(told)
            self.wanted = told.wanted
            if self.obeyed:
                self._obey(told.wanted)

    def _obey(self, wanted: int) -> None:
        """New ones boot; what is too many ends at once, what boots first, and takes nothing on any more."""
        more = wanted - self.there - len(self._booting)
        boots_in_s = self.fleet.boot_s if self.boots_in_s is None else self.boots_in_s
        self._booting += [self.second + boots_in_s] * more
        for _ in range(-more):
            if self._booting:
                self._booting.pop()
            else:
                self.there -= 1
