"""Request documents as they are stored, and those among them that nobody can read."""

import logging
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from events.requests import RequestDocument, Versioned
from events.words import Unavailable

log = logging.getLogger("penstock.requests")

Row = tuple[str, int, bytes]  # id, version, the document

_document = msgspec.json.Decoder(RequestDocument)


class Reading:
    """Decodes stored documents. One that does not decode, damaged or of another release, hides no other:
    it is logged once, counted, and passed over.
    """

    def __init__(self) -> None:
        self._unreadable: set[str] = set()

    @property
    def unreadable(self) -> int:
        """How many were met so far."""
        return len(self._unreadable)

    def one(self, row: Row) -> Versioned:
        """A document that was asked for. Raises `Unavailable` where it does not decode."""
        request_id, version, body = row
        try:
            return Versioned(document=_document.decode(body), version=version)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if request_id not in self._unreadable:
                self._unreadable.add(request_id)
                log.error("%s cannot be read and is passed over: %s", request_id, error)  # noqa: TRY400
            raise Unavailable(f"{request_id} is stored in a form that cannot be read here.") from error

    def some(self, rows: Iterable[Row]) -> list[Versioned]:
        """Those that decode."""
        return [found for row in rows if (found := self._or_none(row)) is not None]

    def _or_none(self, row: Row) -> Versioned | None:
        try:
            return self.one(row)
        except Unavailable:
            return None

    async def first(self, limit: int, find: Callable[[int], Awaitable[list[Versioned]]]) -> list[Versioned]:
        """The first `limit` of what `find` finds; it is asked for more where some have to be passed over."""
        while True:
            known = self.unreadable
            found = await find(limit + known)
            if self.unreadable == known:
                return found[:limit]
