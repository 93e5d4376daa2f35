"""Callers: they hand in requests until they are acknowledged, and note what their calls saw."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from random import Random

from tests.kill.rig.calls import Call, NotReached
from tests.kill.rig.processes import Platform
from tests.kill.rig.requests import ID_FIELDS, Way, queued, synchronous

AT_ONCE = 8
PAUSE_S = 0.05
REFUSED = frozenset({400, 401, 404, 405, 413, 415})  # what trying again cannot mend


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How many requests there are to make."""

    queued: int
    synchronous: int


class Load:
    """All requests made of one platform."""

    def __init__(self, platform: Platform, dice: Random) -> None:
        self.calls: list[Call] = []
        self.acknowledged: dict[str, Way] = {}  # by request id
        self._platform = platform
        self._dice = dice
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way: set[Call] = set()

    @property
    def in_flight(self) -> int:
        """Synchronous calls under way."""
        return len(self._under_way)

    def begin(self, work: Work) -> None:
        """Hands in work, in any order; half of what is queued is published."""
        makers = [
            *(self._in_turn(self._call(self._length(), stream=n % 2 == 0)) for n in range(work.synchronous)),
            *(self._in_turn(self._hand_in("published" if n % 2 else "posted")) for n in range(work.queued)),
        ]
        self._dice.shuffle(makers)
        for maker in makers:
            self._start(maker)

    def probe(self, *, streams: int = 0, wholes: int = 0, tokens: int) -> list[Call]:
        """Calls made at once, to be watched."""
        calls = [self._chat(tokens, stream=n < streams) for n in range(streams + wholes)]
        for call in calls:
            self._start(self._run(call))
        return calls

    def publish(self) -> None:
        """Hands in one published request."""
        self._start(self._hand_in("published"))

    async def done(self) -> None:
        """Waits until every call has ended and everything queued is acknowledged."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _in_turn(self, work: Coroutine[None, None, None]) -> None:
        async with self._turn:
            await work

    def _length(self) -> int:
        """How many tokens an answer gets: mostly few, now and then more than may go unrecorded."""
        few = self._dice.randint(3, 40)
        return self._dice.choices([few, 120, 500], weights=[20, 9, 1])[0]

    async def _call(self, tokens: int, *, stream: bool) -> None:
        while True:
            await self._platform.up.wait()
            try:
                await self._run(self._chat(tokens, stream=stream))
            except NotReached:
                await asyncio.sleep(PAUSE_S)
            else:
                return

    async def _run(self, call: Call) -> None:
        self._under_way.add(call)
        try:
            await call.run(self._platform.port)
        finally:
            self._under_way.discard(call)
        self.calls.append(call)

    async def _hand_in(self, way: Way) -> None:
        """Makes one queued request: tries until it is acknowledged, anew each time."""
        while True:
            await self._platform.up.wait()
            call = queued(self._platform, self._prompt(), self._length(), way)
            try:
                await call.run(self._platform.port)
            except NotReached:
                await asyncio.sleep(PAUSE_S)
            if call.whole and call.status == 202:
                self.acknowledged[call.json[ID_FIELDS[way]]] = way
                return
            assert call.status not in REFUSED, call.body

    def _chat(self, tokens: int, *, stream: bool) -> Call:
        return synchronous(self._platform, self._prompt(), tokens, stream=stream)

    def _prompt(self) -> str:
        return f"Say something about {self._dice.randrange(10**9)}."
