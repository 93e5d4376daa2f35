"""Says every ten seconds how many synchronous calls a router has under way at each replica."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from events.bus import Publisher, message_of
from events.config import Config
from events.envelope import wrap
from events.fleet import BackendCalls, FleetReported, ReplicaCalls
from events.words import PenstockError
from services.pool.pool import Pool

LOOKS = 10  # in each window
LOOK_EVERY_S = 1.0
SOURCE = "/router"

log = logging.getLogger("penstock.router")


class Call(Protocol):
    """A synchronous call under way."""

    @property
    def place(self) -> tuple[str, str]:
        """The backend, and the base URL of the replica that is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the reporter needs. `producer` names this process."""

    calls: Callable[[], Iterable[Call]]
    publisher: Publisher
    pool: Callable[[], Pool]
    config: Callable[[], Config]
    now: Callable[[], datetime]
    producer: str


class FleetReporter:
    """Looks at the calls under way, and publishes the average of its looks where there was a call."""

    def __init__(self, ports: Ports, look_every_s: float = LOOK_EVERY_S) -> None:
        self._ports = ports
        self._look_every_s = look_every_s

    async def run(self) -> None:
        """Until cancelled; a window that cannot be published is lost, and the next one says more."""
        while True:
            try:
                await self.report()
            except PenstockError as error:
                log.warning("the calls under way are not reported: %s", error)
            except Exception:
                log.exception("the calls under way are not reported")

    async def report(self) -> None:
        """One window: looks, then says what it saw. Raises `Unavailable`."""
        clock = asyncio.get_running_loop().time
        began, seen = clock(), Counter[tuple[str, str]]()
        for _ in range(LOOKS):
            await asyncio.sleep(self._look_every_s)
            seen.update(call.place for call in self._ports.calls())
        if seen:
            await self._publish(seen, clock() - began)

    async def _publish(self, seen: Counter[tuple[str, str]], window_s: float) -> None:
        ports = self._ports
        event = FleetReported(
            producer=ports.producer,
            window_s=window_s,
            backends=tuple(self._backend(name, seen) for name in ports.config().backends),
        )
        envelope = wrap(event, id=secrets.token_hex(16), source=SOURCE, time=ports.now())
        await ports.publisher.publish([message_of(envelope)])

    def _backend(self, name: str, seen: Counter[tuple[str, str]]) -> BackendCalls:
        urls = [replica.url for replica in self._ports.pool().replicas(name)]
        return BackendCalls(
            backend=name,
            replicas=tuple(ReplicaCalls(url=url, in_flight=seen[name, url] / LOOKS) for url in urls),
        )
