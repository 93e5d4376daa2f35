"""The events of a response in the background, told as they are journalled, by whichever process it may be."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
from msgspec.structs import replace

from events.journal import OPENING, Entry
from events.requests import FINAL, RequestDocument
from events.words import Problem, Refusal, Unavailable
from services.pool.sse import split
from services.requests.waiters import Waiters
from services.responses.names import response_id
from services.responses.stream import event
from services.responses.told import Response, Stage
from services.router.exchange import KEEP_ALIVE
from services.router.responses.kept import READ_AT_ONCE, KeptResponses

FIRST_LOOK_S = 0.25  # what is journalled in this process is heard at once; each look in vain costs a read
LAST_LOOK_S = 0.5
DOCUMENT_S = 2.0  # how often it is looked whether a response goes on whose journal says nothing new
KEEP_ALIVE_S = 10.0
OPENINGS: tuple[tuple[str, Stage], ...] = (
    ("response.created", "queued"),
    ("response.queued", "queued"),
    ("response.in_progress", "in_progress"),
)
LASTS = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
}


class _Ended(msgspec.Struct):
    status: str


class Tail:
    """`begin` once, then `events` once. `told`: the number of the last event that its reader has; -1 where
    it has none.

    A reader follows one attempt. Where another one makes the answer now, it is told so by an `error`, with
    the number of the last event it got: what two attempts say is never told as one answer.
    """

    def __init__(
        self,
        kept: KeptResponses,
        waiters: Waiters,
        document: RequestDocument,
        told: int,
        *,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        self._keep_alive_s = keep_alive_s
        self._kept = kept
        self._waiters = waiters
        self._document = document
        self._told = told
        self._response: Response | None = None  # as it was asked for, where the opening is still to be told
        self._attempt: int | None = None  # whose events the reader has
        self._place = 0
        self._number = 0  # of the event behind the last that was read
        self._closed = False
        self._ahead = False  # the journal has an attempt that the document, as it was read, has not
        self._over = False

    async def begin(self) -> Refusal | None:
        """Finds where its reader is; refuses a number that no event had."""
        if self._told < OPENING:
            return None
        name = self._document.id
        place = await self._kept.journal.place_of(name, self._told)
        if place is not None:
            (entry,) = await self._kept.journal.read(name, place, 1)
            self._place, self._attempt = place, entry.attempt
            return None
        place = await self._kept.journal.place_of(name, self._told - 1)
        if self._document.state in FINAL and (place is not None or self._told == OPENING):
            self._place, self._attempt = place or 0, self._document.attempts
            return None  # it has all of them
        message = f"starting_after is {self._told}, and there is no such event yet."
        problem = Problem(message=message, param="starting_after", code="invalid_value")
        return Refusal(status=400, problem=problem)

    async def events(self) -> AsyncIterator[bytes]:
        """To the end of the response, or of the attempt that its reader follows."""
        clock = asyncio.get_running_loop().time
        pause_s, quiet_since, look_at = FIRST_LOOK_S, clock(), clock() + DOCUMENT_S
        with self._waiters.waiting(self._document.id) as rung:
            while not self._over:
                look = self._must_look or rung.is_set() or clock() >= look_at
                rung.clear()
                if look:
                    look_at = clock() + DOCUMENT_S
                try:
                    async for news in self._round(look=look):
                        yield news
                        pause_s, quiet_since = FIRST_LOOK_S, clock()
                except Unavailable:  # the response goes on without its readers
                    pause_s = LAST_LOOK_S
                if clock() - quiet_since >= self._keep_alive_s:
                    quiet_since = clock()
                    yield KEEP_ALIVE
                if not self._over:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(rung.wait(), pause_s)
                    pause_s = min(LAST_LOOK_S, 2 * pause_s)

    @property
    def _must_look(self) -> bool:
        """Whether only the document can tell more."""
        return self._document.state != "running" or self._ahead or self._closed

    async def _round(self, *, look: bool) -> AsyncIterator[bytes]:
        """What there is to tell now."""
        if look and not await self._look():
            yield self._broken_off("The response was deleted, or its time is over.", "response_not_found")
            return
        if self._attempt is not None and self._document.attempts > self._attempt:
            message = "The answer is made anew: retrieve the response again, without starting_after."
            yield self._broken_off(message, "answer_begun_again")
            return
        for event_told in await self._opening():
            yield event_told
        async for events in self._journalled():
            yield events
        if self._document.state in FINAL:
            if not self._closed:
                await self._kept.close(self._document, self._place, self._number or OPENING)
                async for events in self._journalled():
                    yield events
            yield await self._last()

    async def _look(self) -> bool:
        found = await self._kept.find(self._document.tenant, response_id(self._document.id))
        if found is None:
            return False
        self._document, self._ahead = found, False
        return True

    def _broken_off(self, message: str, code: str) -> bytes:
        self._over = True
        return event("error", max(self._told, 0), code=code, message=message, param=None)

    async def _opening(self) -> list[bytes]:
        """The events that follow from the request."""
        news: list[bytes] = []
        for number, (kind, status) in enumerate(OPENINGS[: _openings(self._document)]):
            if number <= self._told:
                continue
            if self._response is None:
                asked = await self._kept.asked(self._document)
                if asked is None:
                    return news
                self._response = asked[1].response
            self._told = number
            news.append(event(kind, number, response=replace(self._response, status=status)))
        return news

    async def _journalled(self) -> AsyncIterator[bytes]:
        """The events of the document's attempt, from where the reader is."""
        document = self._document
        while document.state == "running" or document.state in FINAL:
            found = await self._kept.journal.read(document.id, self._place, READ_AT_ONCE)
            for entry in found:
                if entry.attempt > document.attempts:
                    self._ahead = True
                    return
                events = await self._unread(entry)
                self._place, self._number = entry.place + 1, entry.next
                self._closed = entry.closed and entry.attempt == document.attempts
                if events:
                    self._told, self._attempt = entry.next - 1, entry.attempt
                    yield events
            if len(found) < READ_AT_ONCE:
                return

    async def _unread(self, entry: Entry) -> bytes:
        if entry.attempt != self._document.attempts or entry.next <= self._told + 1:
            return b""
        events = split(await self._kept.events(entry, self._document))
        return b"".join(events[max(0, self._told + 1 - entry.first) :])

    async def _last(self) -> bytes:
        """The event that tells the whole response; its number is that behind all others."""
        number = self._number or _openings(self._document)
        whole = await self._kept.resource(self._document)
        self._over = True
        if whole is None or number <= self._told:
            return b""
        kind = LASTS.get(msgspec.json.decode(whole, type=_Ended).status, "response.failed")
        return event(kind, number, response=msgspec.Raw(whole))


def _openings(document: RequestDocument) -> int:
    return OPENING if document.attempts else OPENING - 1
