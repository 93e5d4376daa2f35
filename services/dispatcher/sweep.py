"""What must happen to requests even if nobody rings: expiry, lost claims, debts, forgetting."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta

from events.requests import Versioned
from events.words import Conflict
from functions.request.lifecycle import expire, release
from services.dispatcher.outbox import pay
from services.dispatcher.ports import Ports

AT_ONCE = 100
SOURCE = "/dispatcher"


async def sweep(ports: Ports) -> bool:
    """Brings every request where it should be by now; True where some may be claimed again."""
    await _expire(ports)
    freed = await _free_lost(ports)
    await _pay_debts(ports)
    await _forget(ports)
    return freed


async def _expire(ports: Ports) -> None:
    async for stored in _each(lambda: ports.requests.overdue(ports.now(), AT_ONCE)):
        ended = expire(stored.document, now=ports.now(), keep_s=ports.pace.keep_s, source=SOURCE)
        if ended is not None:
            with contextlib.suppress(Conflict):
                version = await ports.requests.replace(ended, stored.version)
                await pay(Versioned(document=ended, version=version), ports)


async def _free_lost(ports: Ports) -> bool:
    freed = False
    before = ports.now() - timedelta(seconds=ports.pace.skew_s)
    async for stored in _each(lambda: ports.requests.lost(before, AT_ONCE)):
        with contextlib.suppress(Conflict):
            await ports.requests.replace(release(stored.document), stored.version)
            freed = True
    return freed


async def _pay_debts(ports: Ports) -> None:
    before = ports.now() - timedelta(seconds=ports.pace.owed_after_s)
    async for stored in _each(lambda: ports.requests.owing(before, AT_ONCE)):
        await pay(stored, ports)


async def _forget(ports: Ports) -> None:
    while len(await ports.requests.forget(ports.now(), AT_ONCE)) == AT_ONCE:
        pass
    while await ports.bodies.forget(ports.now(), AT_ONCE) == AT_ONCE:
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
