"""Callers: they hand in requests until they are acknowledged, and note what their calls saw."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from random import Random
from typing import Literal

from tests.kill.rig.calls import Call, NotReached
from tests.kill.rig.followers import HANGS_UP, LONGEST_S, Follower
from tests.kill.rig.processes import Platform
from tests.kill.rig.requests import ID_FIELDS, Way, queued, synchronous

AT_ONCE = 8
PAUSE_S = 0.05
REFUSED = frozenset({400, 401, 404, 405, 410, 413, 415, 422})  # what trying again cannot mend
MAY_RETRY = frozenset({0, 200, 409, 503})  # cut, broken off, or asked to
TRIES = 40  # of a call with a key
AGAIN = 0.2  # of the calls with a key are retried though they were answered

Kind = Literal["stream", "whole", "keyed stream", "keyed whole"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How many requests there are to make."""

    queued: int
    synchronous: int


class Load:
    """All requests made of one platform. `kinds` and `ways` are those of synchronous and of queued requests,
    in turn.
    """

    kinds: tuple[Kind, ...] = ("stream", "whole", "keyed stream", "keyed whole")
    ways: tuple[Way, ...] = ("posted", "published", "keyed", "published", "followed", "published")

    def __init__(self, platform: Platform, dice: Random) -> None:
        self.calls: list[Call] = []
        self.acknowledged: dict[str, Way] = {}  # by request id
        self.told: dict[str, set[str]] = {}  # the requests a key that queues was told of
        self.followers: list[Follower] = []
        self._platform = platform
        self._dice = dice
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._follows = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._readers: set[asyncio.Task[None]] = set()
        self._under_way: set[Call] = set()
        self._retried: dict[str, Callable[[], Call]] = {}  # by key
        self._left: set[str] = set()  # keys whose call may go on without its client

    @property
    def in_flight(self) -> int:
        """Synchronous calls under way."""
        return len(self._under_way) + len(self._left)

    def begin(self, work: Work) -> None:
        """Hands in work, in any order."""
        kinds, ways = islice(cycle(self.kinds), work.synchronous), islice(cycle(self.ways), work.queued)
        makers = [
            *(partial(self._called, kind) for kind in kinds),
            *(partial(self._queued, way) for way in ways),
        ]
        self._dice.shuffle(makers)
        for make in makers:
            make()

    def probe(self, *, streams: int = 0, wholes: int = 0, tokens: int) -> list[Call]:
        """Calls made at once, to be watched."""
        calls = [self._chat(tokens, stream=n < streams) for n in range(streams + wholes)]
        for call in calls:
            self._start(self._run(call))
        return calls

    def retry(self, *, streams: int = 0, wholes: int = 0, tokens: int) -> None:
        """Calls with a key, made at once, whose clients wait for an answer as long as they are connected."""
        for n in range(streams + wholes):
            self._start(self._call_once(tokens, stream=n < streams, patient=True))

    def follow(self, tokens: int, *, patient: bool = True) -> None:
        """A response in the background."""
        follower = Follower(self._platform, self._dice, patient=patient)
        self._start(self._follow(follower, tokens), self._readers)

    def publish(self) -> None:
        """Hands in one published request."""
        self._start(self._hand_in("published"))

    async def done(self) -> None:
        """Waits until every call has ended, and everything queued but not followed is acknowledged."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def all_read(self) -> None:
        """Waits until everything that is followed was read to its end."""
        while self._readers:
            await asyncio.gather(*self._readers)

    async def ask_again(self) -> None:
        """Retries every key once more, and reads every followed response once more from its beginning."""
        for make in self._retried.values():
            self._start(self._in_turn(self._run(make())))
        for name in [follower.name for follower in self.followers]:
            follower = Follower(self._platform, self._dice, name, patient=True)
            self.followers.append(follower)
            self._start(self._in_turn(follower.goes_on()))
        await self.done()

    def _start(self, work: Coroutine[None, None, None], among: set[asyncio.Task[None]] | None = None) -> None:
        tasks = self._tasks if among is None else among
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _in_turn(self, work: Coroutine[None, None, None]) -> None:
        async with self._turn:
            await work

    def _length(self) -> int:
        """How many tokens an answer gets: mostly few, now and then more than may go unrecorded."""
        few = self._dice.randint(3, 40)
        return self._dice.choices([few, 120, 500], weights=[20, 9, 1])[0]

    # --- synchronous

    def _called(self, kind: Kind) -> None:
        call = self._call_once if kind.startswith("keyed") else self._call
        self._start(self._in_turn(call(self._length(), stream=kind.endswith("stream"))))

    async def _call(self, tokens: int, *, stream: bool) -> None:
        while True:
            await self._platform.up.wait()
            try:
                await self._run(self._chat(tokens, stream=stream))
            except NotReached:
                await asyncio.sleep(PAUSE_S)
            else:
                return

    async def _call_once(self, tokens: int, *, stream: bool, patient: bool = False) -> None:
        """Retries until it has a whole answer, and maybe then. Who is not patient hangs up at first."""
        key, prompt = self._key(), self._prompt()
        make = partial(synchronous, self._platform, prompt, tokens, stream=stream, once=key)
        self._retried[key] = make
        hangs_up = not patient and self._dice.random() < HANGS_UP
        for _ in range(TRIES):
            await self._platform.up.wait()
            call = make()
            try:
                await self._run(call, self._dice.uniform(0.0, LONGEST_S) if hangs_up else None)
            except NotReached:
                await asyncio.sleep(PAUSE_S)
                continue
            if hangs_up and not call.whole:
                self._left.add(key)
            hangs_up = False
            if call.answered:
                self._left.discard(key)
                if self._dice.random() >= AGAIN:
                    return
            else:
                assert call.status in MAY_RETRY, call.body
                await asyncio.sleep(PAUSE_S)

    async def _run(self, call: Call, within_s: float | None = None) -> None:
        self._under_way.add(call)
        try:
            await call.run(self._platform.port, within_s)
        finally:
            self._under_way.discard(call)
        self.calls.append(call)

    # --- queued

    def _queued(self, way: Way) -> None:
        if way == "followed":
            self.follow(self._length(), patient=False)
        else:
            self._start(self._in_turn(self._hand_in(way)))

    async def _hand_in(self, way: Way) -> None:
        """Makes one queued request: tries until it is acknowledged, anew each time unless it has a key."""
        key = self._key() if way == "keyed" else ""
        make = partial(queued, self._platform, self._prompt(), self._length(), way, key)
        while True:
            await self._platform.up.wait()
            call = make()
            try:
                await call.run(self._platform.port)
            except NotReached:
                await asyncio.sleep(PAUSE_S)
            if call.whole and call.status == 202:
                name = call.json[ID_FIELDS[way]]
                self.acknowledged[name] = way
                if key:
                    self.told.setdefault(key, set()).add(name)
                if not key or self._dice.random() >= AGAIN:
                    return
            assert call.status not in REFUSED, call.body
            if not key:
                make = partial(queued, self._platform, self._prompt(), self._length(), way)

    async def _follow(self, follower: Follower, tokens: int) -> None:
        async with self._follows:
            await follower.begins(self._prompt(), tokens)
            self.acknowledged[follower.request_id] = "followed"
            self.followers.append(follower)
            await follower.goes_on()

    def _chat(self, tokens: int, *, stream: bool) -> Call:
        return synchronous(self._platform, self._prompt(), tokens, stream=stream)

    def _prompt(self) -> str:
        return f"Say something about {self._dice.randrange(10**9)}."

    def _key(self) -> str:
        """As a trace id may be, so that what is stored under it can be told."""
        return f"{self._dice.getrandbits(128):032x}"
