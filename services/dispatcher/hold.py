"""The claim on a request that runs: the chain of writes that only its owner can make."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import TypeVar

from events.requests import RequestDocument, Versioned
from events.words import Conflict, Unavailable
from functions.request.lifecycle import renew
from services.dispatcher.ports import Pace, Requests

T = TypeVar("T")

RETRY_S = 1.0  # or sooner, where heartbeats are more frequent

log = logging.getLogger("penstock.dispatcher")


class Hold:
    """A claimed document. Each write carries on the version its predecessor left: where that does not
    hold any more (`Conflict`), somebody else decides about the request.

    A store that is away takes nothing from it before the lease ends. A write that failed may still have
    taken place: where such a write of our own moved the document on, the chain goes on behind it.
    """

    def __init__(
        self, claimed: Versioned, requests: Requests, pace: Pace, now: Callable[[], datetime]
    ) -> None:
        self.document = claimed.document
        self.version = claimed.version
        self._requests = requests
        self._pace = pace
        self._now = now
        self._retry_s = min(RETRY_S, pace.heartbeat_s)
        self._unheard: list[RequestDocument] = []
        self._writing = asyncio.Lock()

    @property
    def left_s(self) -> float:
        """Seconds in which nobody can think the claim lost, whatever their clock says."""
        claim = self.document.claim
        if claim is None:
            return 0.0
        return (claim.lease_until - self._now()).total_seconds() - self._pace.skew_s

    async def insist(self, do: Callable[[], Awaitable[T]]) -> T:
        """Does it, again and again where a store is away; no longer than the lease lasts that is held now."""
        clock = asyncio.get_running_loop().time
        end = clock() + self.left_s
        while True:
            try:
                return await do()
            except Unavailable as error:
                left_s = end - clock()
                if left_s <= 0:
                    raise
                log.warning("%s waits: %s", self.document.id, error)
            await asyncio.sleep(min(self._retry_s, left_s))

    async def write(self, document: RequestDocument) -> None:
        """Writes it, and insists."""
        await self.insist(partial(self.write_once, document))

    async def write_once(self, document: RequestDocument) -> None:
        """Writes it now, or raises `Unavailable`."""
        async with self._writing:
            await self._put(document)

    async def keep(self) -> None:
        """Renews the lease, and looks in between, until cancelled. Raises `Conflict` where the document
        was taken away or cancelled, or the lease ended because it could not be renewed.
        """
        pace, clock = self._pace, asyncio.get_running_loop().time
        beat_at = clock() + pace.heartbeat_s
        while True:
            to_beat_s = beat_at - clock()
            if to_beat_s > pace.cancel_check_s:
                await asyncio.sleep(pace.cancel_check_s)
                await self._look()
                continue
            await asyncio.sleep(to_beat_s)
            renewed = await self._beat()
            beat_at = clock() + (pace.heartbeat_s if renewed else min(self._retry_s, self.left_s))

    async def _beat(self) -> bool:
        """Whether the lease is as long again as it can be."""
        async with self._writing:
            if self.document.state != "running":
                return True  # the run has just concluded it
            try:
                await self._put(renew(self.document, self._now(), self._pace.lease_s))
            except Unavailable as error:
                if self.left_s <= 0:
                    raise Conflict(f"The lease on {self.document.id} could not be renewed.") from error
                log.warning("the lease on %s is not renewed yet: %s", self.document.id, error)
                return False
            except Conflict:
                if self.document.state == "running":
                    raise
            return True

    async def _look(self) -> None:
        async with self._writing:
            if self.document.state != "running":
                return
            try:
                found = await self._requests.get(self.document.id)
            except Unavailable:
                return  # the next heartbeat says more
            if found is None or (found.version != self.version and not self._wrote(found)):
                raise Conflict(f"{self.document.id} moved on.")

    async def _put(self, document: RequestDocument) -> None:
        self._unheard.append(document)
        try:
            version = await self._requests.replace(document, self.version)
        except Conflict:
            found = await self._requests.get(document.id)
            if found is None or not self._wrote(found):
                raise
            if self.document == document:
                return
            if self.document.state != "running":  # a conclusion that was thought to have failed stands
                raise
            await self._put(document)
        else:
            self._moved(document, version)

    def _wrote(self, found: Versioned) -> bool:
        """Whether it was a write of ours that moved the document on; then the chain goes on behind it."""
        if found.document not in self._unheard:
            return False
        self._moved(found.document, found.version)
        return True

    def _moved(self, document: RequestDocument, version: int) -> None:
        self.document, self.version = document, version
        self._unheard.clear()
