"""What a hosted backend is shown to let us in: always at hand, and renewed in the background."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from events.words import Unavailable
from services.pool.held import Background, Held

REREAD_S = 5.0  # a secret that does not tell how long it holds is read again so often
AHEAD_S = 225.0  # before a token ends it is renewed; Google's servers give a new one 300 s before
JITTER_S = 60.0
FIRST_PAUSE_S = 1.0
LAST_PAUSE_S = 30.0
FETCH_S = 30.0

log = logging.getLogger("penstock.pool")


class Credentials(Held, Protocol):
    """Never waits, and never shows itself."""

    def header(self) -> bytes:
        """The header line, ending in CRLF; b"" while there is none, and then nothing may be sent."""


class Grant:
    """A secret, and for how many seconds from now on it holds; None: until it is another one."""

    __slots__ = ("lasts_s", "line")

    def __init__(self, secret: str, lasts_s: float | None = None) -> None:
        secret = secret.strip()
        if not (secret and secret.isascii() and secret.isprintable() and " " not in secret):
            raise Unavailable("it is not one line of ASCII without spaces")
        self.line = b"authorization: Bearer %b\r\n" % secret.encode()
        self.lasts_s = lasts_s

    def __repr__(self) -> str:
        return "Grant(***)"


Fetch = Callable[[], Awaitable[Grant]]


class Renewed(Background):
    """Keeps what `fetch` gives, which raises `Unavailable` where there is nothing. `what` it is stands in
    sentences. There is one fetch at a time, well before the end of what is held; where it fails that is used
    to its end.
    """

    def __init__(
        self,
        what: str,
        fetch: Fetch,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__()
        self._what = what
        self._fetch = fetch
        self._clock = clock
        self._chance = chance
        self._line = b""
        self._ends_at = float("inf")
        self._failures = 0
        self._why = ""

    def __repr__(self) -> str:
        return f"Renewed({self._what})"

    def header(self) -> bytes:
        """See `Credentials`."""
        return self._line if self._clock() < self._ends_at else b""

    def lacking(self) -> str:
        """See `Held`."""
        if self.header():
            return ""
        why = "cannot be had here right now" if self._failures else "is not there yet"
        return f"{self._what}, which {why}"

    async def run(self) -> None:
        """See `Background`."""
        while True:
            pause_s = await self.renew()
            await asyncio.sleep(pause_s)

    async def renew(self) -> float:
        """Fetches it; after so many seconds it should be fetched again."""
        try:
            async with asyncio.timeout(FETCH_S):
                grant = await self._fetch()
        except (Unavailable, TimeoutError) as error:
            self._failures += 1
            self._say(str(error) or f"nothing came within {FETCH_S:g} s")
            pause_s: float = min(LAST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._failures - 1, 10))
            return pause_s * (1 + self._chance()) / 2
        self._failures, self._why = 0, ""
        self._line = grant.line
        if grant.lasts_s is None:
            self._ends_at = float("inf")
            return REREAD_S
        self._ends_at = self._clock() + grant.lasts_s
        ahead_s = AHEAD_S + JITTER_S * self._chance()
        return max(grant.lasts_s - ahead_s, grant.lasts_s / 2, FIRST_PAUSE_S)

    def _say(self, why: str) -> None:
        if why != self._why:
            self._why = why
            log.warning("%s cannot be had: %s", self._what, why)
