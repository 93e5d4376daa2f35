"""All synchronous requests under way: what they share, their deadlines, their end when the process stops."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from services.front.call import Reply
from services.front.limits import Budget
from services.guarding.guard import Watching
from services.router.cold.room import ColdRoom
from services.router.exchange import Exchange
from services.router.metrics import Metrics
from services.router.order import Deadlines
from services.router.retries import Retries
from services.router.tape import Tape
from services.router.watch import Watched
from services.router.way import Way
from services.usage.recorder import UsageRecorder

TICK_S = 0.25
HELD = 512 * 2**20

log = logging.getLogger("penstock.router")


class Exchanges:
    """All exchanges under way, with what they share; its tick enforces the deadlines.

    `budget` bounds the bytes of answers that are held: the front's own, so that one bound holds for all.
    `cold`: where requests may wait for an engine.
    """

    def __init__(
        self,
        recorder: UsageRecorder,
        metrics: Metrics,
        deadlines: Deadlines,
        *,
        now: Callable[[], datetime],
        budget: Budget | None = None,
        retries: Retries | None = None,
        cold: ColdRoom | None = None,
    ) -> None:
        self.recorder = recorder
        self.retries = retries or Retries()
        self.cold = cold
        self.retrying = 0  # exchanges that are not in their first attempt
        self.metrics = metrics
        self.deadlines = deadlines
        self.now = now
        self.budget = budget or Budget(HELD)
        loop = asyncio.get_running_loop()
        self.clock: Callable[[], float] = loop.time
        self.open: set[Exchange] = set()
        self._ticker: asyncio.TimerHandle | None = None

    def begin(
        self,
        way: Way,
        reply: Reply,
        tape: Tape | None = None,
        watched: Watched | None = None,
        watching: Watching | None = None,
    ) -> None:
        """Starts the first attempt, where the way has begun; the reply is answered in every case. What the
        client gets is noted on the `tape`, what becomes of the call by who watched it; where a guard is
        `watching`, that is what it lets out.
        """
        self._opened(way, reply, tape, watched, watching).begin()

    def hold(
        self,
        way: Way,
        reply: Reply,
        tape: Tape | None = None,
        watched: Watched | None = None,
        watching: Watching | None = None,
    ) -> None:
        """The same where no engine can be reached, and the request waits for one."""
        way.wait()
        self._opened(way, reply, tape, watched, watching).hold()

    def _opened(
        self,
        way: Way,
        reply: Reply,
        tape: Tape | None,
        watched: Watched | None,
        watching: Watching | None,
    ) -> Exchange:
        exchange = Exchange(self, way, reply, tape, watched, watching)
        self.open.add(exchange)
        reply.listener = exchange
        return exchange

    def may_retry(self, number: int) -> bool:
        """Whether an exchange may follow its attempt `number` by another."""
        further = number > 1  # it is among those that do already
        return self.retries.may(number, self.retrying - further, len(self.open))

    def start(self) -> None:
        """Begins ticking."""
        self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self.start()  # first: whatever fails here, the deadlines of others hold
        now = self.clock()
        for exchange in list(self.open):
            try:
                exchange.check(now)
            except Exception:
                log.exception("a request under way cannot be checked: %s", exchange.attempt.id)
        if self.cold is not None:
            self.cold.look()

    async def drain(self, grace_s: float) -> None:
        """Lets exchanges end for `grace_s`, then ends the rest in-band."""
        deadline = self.clock() + grace_s
        while self.open and self.clock() < deadline:  # noqa: ASYNC110  (ends are not worth an event each)
            await asyncio.sleep(0.02)
        for exchange in list(self.open):
            exchange.shut_down()
        if self._ticker is not None:
            self._ticker.cancel()
