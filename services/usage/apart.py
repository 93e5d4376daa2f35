"""Where every page costs money: starts go in pages of their own, and not more often than they must."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from events.bus import Publisher
from events.usage import UsageRecord
from services.usage.recorder import CLOSES_WITHIN_S, REFUSE, Lingers, Spool, UsageRecorder, Waiter

ENOUGH = 100  # starts that are worth a page: a fiftieth of a write each, since it is also marked as folded


class StartsApart(UsageRecorder):
    """Two recorders of one producer: of what somebody waits for, and of the rest.

    To store a page of starts is one write, but a page with completions in it adds to the sums of all its
    tenants. Pages of starts leave early, because somebody waits for them; completions that went along would
    have the sums written as often. And somebody in a hurry hurries a page only `started_s` after the one
    before, or with `ENOUGH` starts in it: so few calls wait for nobody, many share their pages, and very many
    do not wait for the clock.
    """

    def __init__(
        self,
        publisher: Publisher,
        *,
        producer: str,
        source: str,
        lingers: Lingers,
        now: Callable[[], datetime],
        spool: Spool = REFUSE,
    ) -> None:
        super().__init__(publisher, producer=producer, source=source, lingers=lingers, now=now, spool=spool)
        self._rest = UsageRecorder(
            publisher, producer=producer, source=source, lingers=lingers, now=now, spool=spool
        )

    @property
    def failing(self) -> bool:
        """Whether the bus takes no records now."""
        return super().failing or self._rest.failing

    @property
    def refuses(self) -> bool:
        """Whether `durably` would take nothing now: where the rest fails, its own spool decides."""
        return self._rest.refuses if self._rest.failing else super().refuses

    def durably(self, record: UsageRecord, waiter: Waiter) -> bool:
        """See `UsageRecorder`. Where the rest is not taken, starts are not tried."""
        if self._rest.failing:
            return self._rest._spooled(record, waiter)
        return super().durably(record, waiter)

    def _may_serve(self) -> bool:
        # A start that is served from the spool is one of the rest: nobody waits for it any more.
        return super()._may_serve() and len(self._rest._entries) < self._spool.records

    def add(self, record: UsageRecord) -> None:
        """Takes any other record."""
        self._rest.add(record)

    def hurry(self) -> None:
        """Somebody's first byte is ready: the page it waits for goes as soon as one may."""
        if not self._waited_for:
            return
        left_s = self._sealed_at + self._lingers.started_s - self._loop.time()
        if left_s > 0 and len(self._entries) < ENOUGH:
            self._arm(left_s)
        else:
            self._seal()

    async def close(self, within_s: float = CLOSES_WITHIN_S) -> None:
        """See `UsageRecorder`."""
        await asyncio.gather(super().close(within_s), self._rest.close(within_s))
