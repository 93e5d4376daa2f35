"""The usage ledger in memory."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from itertools import islice

import msgspec
from msgspec.structs import replace

from events.usage import UsageRecorded
from events.words import Conflict, Usage
from functions.metering.bill import Increment, Line, UsageSum
from functions.metering.handler import Settlement
from functions.metering.settlement import Standing, StoredPage


class MemoryUsageLedger:
    """The append-only ledger and the sums beside it; `now` is the clock of `stored_at`."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._pages: dict[str, StoredPage] = {}
        self._unfolded: dict[str, dict[str, StoredPage]] = {}  # by producer, then by page
        self._standings: dict[str, tuple[Standing, int]] = {}
        self._sums: dict[Line, UsageSum] = {}

    async def append(self, page_id: str, body: bytes, producer: str, sums: Sequence[Increment]) -> bool:
        """Stores a page (JSON of a `UsageRecorded`) and adds its sums in one commit; False where the
        page was counted before.
        """
        page = msgspec.json.decode(body, type=UsageRecorded)
        if not self._append(page_id, page, sums):
            return False
        self._unfolded.setdefault(producer, {})[page_id] = self._pages[page_id]
        return True

    async def producers(self) -> Sequence[str]:
        """The producers that have pages not folded yet, or a standing."""
        unfolded = {producer for producer, pages in self._unfolded.items() if pages}
        standing = {producer for producer, (standing, _) in self._standings.items() if not standing.idle}
        return sorted(unfolded | standing)

    async def standing(self, producer: str) -> tuple[Standing, int]:
        """What is remembered of a producer, and its version (0: nothing yet)."""
        return self._standings.get(producer, (Standing(producer=producer), 0))

    async def unfolded(self, producer: str, limit: int) -> Sequence[StoredPage]:
        """The oldest pages not folded yet, in the order they were stored."""
        return list(islice(self._unfolded.get(producer, {}).values(), limit))

    async def settle(self, settlement: Settlement, version: int) -> int:
        """Stores a settlement if the standing still has `version`, and returns the new version;
        else raises `Conflict`.
        """
        producer = settlement.producer
        _, current = await self.standing(producer)
        if current != version:
            raise Conflict(f"The standing of {producer} has version {current}, not {version}.")
        self._standings[producer] = (settlement.standing or Standing(producer=producer), version + 1)
        for page_id in settlement.folded:
            self._unfolded.get(producer, {}).pop(page_id, None)
        if settlement.page is not None:
            self._append(settlement.page_id, settlement.page, settlement.increments)
        return version + 1

    async def usage(
        self,
        tenant: str | None = None,
        key: str | None = None,
        model: str | None = None,
        since: date | None = None,
        until: date | None = None,
    ) -> list[UsageSum]:
        """The sums, by day, tenant, key and model; `since` and `until` are UTC days and both counted."""
        first, last = (since or date.min).isoformat(), (until or date.max).isoformat()
        found = [
            total
            for line, total in self._sums.items()
            if first <= line.day <= last
            and tenant in (None, line.tenant)
            and key in (None, line.key)
            and model in (None, line.model)
        ]
        return sorted(found, key=lambda total: _order(total.line))

    async def pages(self, producer: str | None = None, limit: int = 100, after: str = "") -> list[StoredPage]:
        """Stored pages in their order, from the first one behind the page `after`."""
        ids = list(self._pages)
        behind = ids.index(after) + 1 if after in self._pages else 0
        pages = islice(self._pages.values(), behind, None)
        return list(islice((stored for stored in pages if producer in (None, stored.page.producer)), limit))

    def _append(self, page_id: str, page: UsageRecorded, sums: Iterable[Increment]) -> bool:
        if page_id in self._pages:
            return False
        self._pages[page_id] = StoredPage(id=page_id, stored_at=self._now(), page=page)
        for increment in sums:
            before = self._sums.get(increment.line) or _nothing(increment.line)
            self._sums[increment.line] = _plus(before, increment)
        return True


def _nothing(line: Line) -> UsageSum:
    return UsageSum(line=line, requests=0, usage=Usage(), estimated=0)


def _plus(total: UsageSum, increment: Increment) -> UsageSum:
    return replace(
        total,
        requests=total.requests + increment.requests,
        usage=total.usage + increment.usage,
        estimated=total.estimated + increment.estimated,
    )


def _order(line: Line) -> tuple[str, str, str, str]:
    return (line.day, line.tenant, line.key, line.model)
