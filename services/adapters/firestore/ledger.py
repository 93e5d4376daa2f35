"""The usage ledger in Firestore: a page and its sums in one commit that reads nothing."""

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime

import msgspec

from events.usage import UsageRecorded
from events.words import Conflict, Invalid, Unavailable, Usage, hashed_id
from functions.metering.bill import Increment, Line, UsageSum
from functions.metering.handler import Settlement
from functions.metering.settlement import Standing, StoredPage
from services.adapters.firestore.database import Database, Moved
from services.adapters.firestore.documents import (
    ABSENT,
    PIECE,
    Condition,
    Fields,
    Query,
    Stored,
    Value,
    Write,
    amend,
    count,
    create,
    delete,
    document_id,
    new_mark,
    pieces,
    put,
    replace,
)
from services.adapters.firestore.indexes import LEDGER, PARTS, SPREADS, STANDINGS, USAGE, spread_of

SCHEMA = 1
SHARDS = 16

_TRIES = 5
_LARGEST = 8 * PIECE  # what fits one commit, which ends at 10 MiB

_page = msgspec.json.Decoder(UsageRecorded)


class FirestoreUsageLedger:
    """The append-only ledger and the sums beside it; `now` is the clock of `stored_at`.

    That clock is the process's own and not the server's: settling compares it with the time of a job, a
    page is folded in any order, and what is still to fold is found by its mark, not by its time. So
    nothing hangs on clocks that differ a little.

    A document takes about one write a second, and every page adds to the sums of its tenants: each sum
    lies in `shards` documents, of which a page picks one. To read a sum is to add them up.
    """

    def __init__(self, database: Database, now: Callable[[], datetime], *, shards: int = SHARDS) -> None:
        self._database = database
        self._now = now
        self._shards = shards

    async def append(self, page_id: str, body: bytes, producer: str, sums: Sequence[Increment]) -> bool:
        """Stores a page (JSON of a `UsageRecorded`) and adds its sums in one commit; False where the
        page was counted before.
        """
        page, mark = self._page(page_id, body, producer, folded=False)
        try:
            await self._database.commit([*page, *self._sums(page_id, sums)])
        except Moved:
            stored = await self._database.get(_path(page_id), fields=("mark",))
            return stored is not None and stored.fields["mark"] == mark
        return True

    async def producers(self) -> Sequence[str]:
        """The producers that have pages not folded yet, or a standing."""
        standing = Query(collection=STANDINGS, where=(("idle", "==", False),), fields=("producer",))
        unfolded, standings = await asyncio.gather(self._unfolded_producers(), self._database.find(standing))
        return sorted({*unfolded, *(str(stored.fields["producer"]) for stored in standings)})

    async def standing(self, producer: str) -> tuple[Standing, int]:
        """What is remembered of a producer, and its version (0: nothing yet)."""
        for _ in range(_TRIES):
            stored = await self._database.get(_standing_path(producer))
            if stored is None:
                return Standing(producer=producer), 0
            body = await self._whole(stored)
            if body is not None:
                return msgspec.json.decode(body, type=Standing), _int(stored, "version")
        raise Unavailable(f"The standing of {producer} changes all the time.")

    async def unfolded(self, producer: str, limit: int) -> Sequence[StoredPage]:
        """The oldest pages not folded yet, in the order they were stored."""
        return await self._pages(("folded", "==", False), ("producer", "==", producer), limit=limit)

    async def settle(self, settlement: Settlement, version: int) -> int:
        """Stores a settlement if the standing still has `version`, and returns the new version;
        else raises `Conflict`.
        """
        mark, counts = new_mark(), settlement.page is not None
        path = _standing_path(settlement.producer)
        for _ in range(_TRIES):
            before = await self._database.get(path, fields=("version", "mark", "parts"))
            if before is not None and before.fields["mark"] == mark:
                return version + 1  # its commit took place, only the answer was lost
            if (0 if before is None else _int(before, "version")) != version:
                break
            writes = [*self._remembered(settlement, version, before, mark), *_folded(settlement)]
            try:
                await self._database.commit([*writes, *(self._rows(settlement) if counts else ())])
            except Moved:
                # The standing moved, or its rows are a page that was counted before.
                counts = counts and await self._database.get(_path(settlement.page_id), ()) is None
            else:
                return version + 1
        raise Conflict(f"The standing of {settlement.producer} no longer has version {version}.")

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
        asked = {"tenant": tenant, "key": key, "model": model}
        equal: list[Condition] = [(name, "==", value) for name, value in asked.items() if value is not None]
        where = (*equal, ("day", ">=", first), ("day", "<=", last))
        return _added_up(await self._database.find(Query(collection=USAGE, where=where, order=("day",))))

    async def pages(self, producer: str | None = None, limit: int = 100, after: str = "") -> list[StoredPage]:
        """Stored pages in their order, from the first one behind the page `after`."""
        behind = await self._database.get(_path(after), fields=("stored_at",)) if after else None
        which: Condition = ("spread", "in", SPREADS) if producer is None else ("producer", "==", producer)
        return await self._pages(which, limit=limit, after=behind)

    async def _pages(self, *where: Condition, limit: int, after: Stored | None = None) -> list[StoredPage]:
        cursor = None if after is None else ((after.fields["stored_at"],), after.path)
        found = await self._database.find(
            Query(collection=LEDGER, where=where, order=("stored_at",), limit=limit, after=cursor)
        )
        return [await self._stored_page(stored) for stored in found]

    async def _stored_page(self, stored: Stored) -> StoredPage:
        body, stored_at = await self._whole(stored), stored.fields["stored_at"]
        if body is None:
            raise Unavailable(f"{stored.path} lacks parts that it should have.")
        assert isinstance(stored_at, datetime)
        return StoredPage(id=str(stored.fields["id"]), stored_at=stored_at, page=_page.decode(body))

    async def _unfolded_producers(self) -> list[str]:
        """Step by step along the index: one document for each producer, however many pages it has."""
        producers: list[str] = []
        while True:
            found = await self._database.find(
                Query(
                    collection=LEDGER,
                    where=(("folded", "==", False), ("producer", ">", producers[-1] if producers else "")),
                    order=("producer", "stored_at"),
                    limit=1,
                    fields=("producer",),
                )
            )
            if not found:
                return producers
            producers.append(str(found[0].fields["producer"]))

    def _page(self, page_id: str, body: bytes, producer: str, *, folded: bool) -> tuple[list[Write], bytes]:
        """The writes that store a page, and the mark they leave."""
        mark = new_mark()
        fields: Fields = {
            "id": page_id,
            "producer": producer,
            "stored_at": self._now(),
            "folded": folded,
            "spread": spread_of(page_id),
        }
        path = _path(page_id)
        head, rest = _in_parts(path, body, mark)
        return [create(path, {**fields, **head}), *rest], mark

    def _sums(self, page_id: str, sums: Iterable[Increment]) -> list[Write]:
        shard = str(spread_of(page_id, self._shards))
        return [_sum(increment, shard) for increment in sums]

    def _rows(self, settlement: Settlement) -> list[Write]:
        """The page of bill rows of a settlement, with its sums; it is never to be folded."""
        body = msgspec.json.encode(settlement.page)
        page, _ = self._page(settlement.page_id, body, settlement.producer, folded=True)
        return [*page, *self._sums(settlement.page_id, settlement.increments)]

    def _remembered(
        self, settlement: Settlement, version: int, before: Stored | None, mark: bytes
    ) -> list[Write]:
        """The standing, also where nothing is to be remembered: its version must go on."""
        path = _standing_path(settlement.producer)
        standing = settlement.standing or Standing(producer=settlement.producer)
        fields: Fields = {
            "producer": settlement.producer,
            "version": version + 1,
            "idle": settlement.standing is None,
        }
        head, rest = _in_parts(path, msgspec.json.encode(standing), mark)
        had = 0 if before is None else _int(before, "parts")
        left = [delete(_part(path, number)) for number in range(len(rest) + 1, had + 1)]
        expected = ABSENT if before is None else before.version
        return [replace(path, {**fields, **head}, expected), *rest, *left]

    async def _whole(self, stored: Stored) -> bytes | None:
        """The body of a document and its parts; None where they are not of one write."""
        paths = [_part(stored.path, number) for number in range(1, _int(stored, "parts") + 1)]
        found = await self._database.get_all(paths)
        if any(path not in found or found[path].fields["mark"] != stored.fields["mark"] for path in paths):
            return None
        return zlib.decompress(b"".join(_bytes(one) for one in (stored, *(found[path] for path in paths))))


def _path(page_id: str) -> str:
    return f"{LEDGER}/{document_id(page_id)}"


def _standing_path(producer: str) -> str:
    return f"{STANDINGS}/{document_id(producer)}"


def _part(path: str, number: int) -> str:
    return f"{path}/{PARTS}/{number}"


def _in_parts(path: str, body: bytes, mark: bytes) -> tuple[Fields, list[Write]]:
    """What a document holds of its body, and the writes of the rest: a crash of a large producer leaves
    more bill rows than one document takes, and they must not stop the books.
    """
    packed = zlib.compress(body, 1)
    if len(packed) > _LARGEST:
        raise Invalid(f"{path} has {len(packed)} bytes packed, more than the {_LARGEST} of one commit.")
    first, *others = pieces(packed)
    rest = [put(_part(path, n), {"mark": mark, "body": part}) for n, part in enumerate(others, 1)]
    return {"mark": mark, "parts": len(rest), "schema": SCHEMA, "body": first}, rest


def _folded(settlement: Settlement) -> list[Write]:
    return [amend(_path(page_id), {"folded": True}) for page_id in settlement.folded]


def _sum(increment: Increment, shard: str) -> Write:
    line, usage = increment.line, increment.usage
    # Hashed, so that the documents of a day do not lie side by side.
    name = hashed_id((shard, line.day, line.tenant, line.key, line.model))
    fields = {"day": line.day, "tenant": line.tenant, "key": line.key, "model": line.model}
    counted = {
        "requests": increment.requests,
        "input": usage.input,
        "output": usage.output,
        "cached": usage.cached,
        "reasoning": usage.reasoning,
        "estimated": increment.estimated,
    }
    return count(f"{USAGE}/{name}", {**fields, "schema": SCHEMA}, counted)


def _added_up(found: Iterable[Stored]) -> list[UsageSum]:
    """The sums of all shards, in the order of their lines."""
    shards: dict[tuple[str, str, str, str], list[Stored]] = defaultdict(list)
    for stored in found:
        day, tenant, key, model = (str(stored.fields[name]) for name in ("day", "tenant", "key", "model"))
        shards[day, tenant, key, model].append(stored)
    return [_total(line, shards[line]) for line in sorted(shards)]


def _total(line: tuple[str, str, str, str], shards: Iterable[Stored]) -> UsageSum:
    day, tenant, key, model = line
    total: dict[str, int] = defaultdict(int)
    for stored in shards:
        for name in ("requests", "input", "output", "cached", "reasoning", "estimated"):
            total[name] += _int(stored, name)
    return UsageSum(
        line=Line(tenant=tenant, key=key, model=model, day=day),
        requests=total["requests"],
        usage=Usage(
            input=total["input"],
            output=total["output"],
            cached=total["cached"],
            reasoning=total["reasoning"],
        ),
        estimated=total["estimated"],
    )


def _int(stored: Stored, name: str) -> int:
    value: Value = stored.fields[name]
    assert isinstance(value, int)
    return value


def _bytes(stored: Stored) -> bytes:
    body = stored.fields["body"]
    assert isinstance(body, bytes)
    return body
