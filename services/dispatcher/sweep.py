"""What must happen to requests even if nobody rings: expiry, lost claims, debts, lost news, forgetting."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from events.bus import Message
from events.inference import InferenceRequested
from events.requests import RequestDocument, Versioned, owed
from events.words import Conflict
from functions.request.lifecycle import expire, release
from services.dispatcher.ports import Ports
from services.requests.outbox import message, pay

AT_ONCE = 100
STALE_AT_ONCE = 1000  # announcing does not end it, so they cannot be had batch after batch
SOURCE = "/dispatcher"


class Sweep:
    """The job sweep-requests. It remembers nothing but when it last announced requests again."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._announced_at: datetime | None = None

    async def run(self) -> bool:
        """Brings every request where it should be by now; True where some may be claimed again."""
        ports = self._ports
        freed = await _free_lost(ports)  # first: of those, too, some may be overdue
        await _expire(ports)
        await pay_debts(ports, ports.now() - timedelta(seconds=ports.pace.owed_after_s))
        await self._announce_stale()
        await _forget(ports)
        return freed

    async def _announce_stale(self) -> None:
        """Announces again what was accepted and nobody routed.

        Accepting owes no event, because the message a request was made from comes again until the request
        is announced. Still the news can be lost for good: the message or the announcement ended in a dead
        letter, or the store came back from a backup and the bus did not. At a modest pace: where routing
        itself is down, every copy only adds to its backlog.
        """
        ports, now = self._ports, self._ports.now()
        before = now - timedelta(seconds=ports.pace.stale_after_s)
        if self._announced_at is not None and self._announced_at > before:
            return
        found = await ports.requests.stale(before, STALE_AT_ONCE)
        for start in range(0, len(found), AT_ONCE):
            step = found[start : start + AT_ONCE]
            await ports.publisher.publish([_announcement(stored.document, now) for stored in step])
        self._announced_at = now


async def _expire(ports: Ports) -> None:
    async for stored in _each(lambda: ports.requests.overdue(ports.now(), AT_ONCE)):
        ended = expire(stored.document, now=ports.now(), keep_s=ports.pace.keep_s, source=SOURCE)
        if ended is not None:
            with contextlib.suppress(Conflict):
                version = await ports.requests.replace(ended, stored.version)
                ports.waiters.ring(ended.id)
                await pay(Versioned(document=ended, version=version), ports.requests, ports.publisher)


async def _free_lost(ports: Ports) -> bool:
    freed = False
    before = ports.now() - timedelta(seconds=ports.pace.skew_s)
    async for stored in _each(lambda: ports.requests.lost(before, AT_ONCE)):
        with contextlib.suppress(Conflict):
            await ports.requests.replace(release(stored.document), stored.version)
            freed = True
    return freed


async def pay_debts(ports: Ports, before: datetime) -> None:
    """Publishes the events that documents owe since before `before`."""
    async for stored in _each(lambda: ports.requests.owing(before, AT_ONCE)):
        await pay(stored, ports.requests, ports.publisher)


def _announcement(document: RequestDocument, now: datetime) -> Message:
    """The same id each time. It cannot be that of the first announcement, which came of the message the
    request was made from; whoever routes a request looks at its document and does it once.
    """
    event = InferenceRequested(
        request_id=document.id, tenant=document.tenant, model=document.model, lane=document.lane
    )
    return message(owed(document, event, now, SOURCE))


async def _forget(ports: Ports) -> None:
    while len(await ports.requests.forget(ports.now(), AT_ONCE)) == AT_ONCE:
        pass
    for kept in (ports.bodies, ports.journal, ports.keyed_calls):
        while kept is not None and await kept.forget(ports.now(), AT_ONCE) == AT_ONCE:
            pass


async def _each(find: Callable[[], Awaitable[Sequence[Versioned]]]) -> AsyncIterator[Versioned]:
    """All that `find` finds, batch after batch; a batch that brings nothing new is the last."""
    seen: set[tuple[str, int]] = set()
    while True:
        batch = [s for s in await find() if (s.document.id, s.version) not in seen]
        seen.update((s.document.id, s.version) for s in batch)
        for stored in batch:
            yield stored
        if len(batch) < AT_ONCE:
            return
