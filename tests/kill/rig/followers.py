"""Readers of responses in the background: they lose their connections, and resume."""

import asyncio
import time
import zlib
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from services.responses.names import request_id_of
from tests.kill.facts import Reading
from tests.kill.rig.calls import Call, NotReached
from tests.kill.rig.processes import LOOK_EVERY_S, PATIENCE_S, Platform
from tests.kill.rig.requests import in_background, told_on

BEGUN_AGAIN = "answer_begun_again"
DELTA = "response.output_text.delta"
LAST = frozenset({"response.completed", "response.incomplete"})
HANGS_UP = 0.4  # of the connections
LONGEST_S = 1.0  # before that
FORGETS = 0.3  # of those who resume


@dataclass
class _Told:
    """A reading as far as it came."""

    told: list[tuple[int, int]] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)  # one for each of them
    whole: str = ""
    ended: str = ""
    connections: int = 0

    @property
    def last(self) -> int:
        """The number of its last event."""
        return self.told[-1][0] if self.told else -1

    def take(self, event: dict[str, Any]) -> None:
        """The next event."""
        kind = event["type"]
        if kind == "error":
            self.ended = event["code"]
            return
        self.told.append((event["sequence_number"], zlib.crc32(msgspec.json.encode(event))))
        self.pieces.append(event["delta"] if kind == DELTA else "")
        if kind in LAST:
            self.ended = "whole"
            output = event["response"]["output"]
            self.whole = "".join(part["text"] for item in output for part in item["content"])
        elif kind == "response.failed":
            self.ended = kind

    def forget_all_but(self, count: int) -> None:
        """Goes back to its first events."""
        del self.told[count:], self.pieces[count:]

    def reading(self, name: str) -> Reading:
        """As a fact."""
        return Reading(
            request_id=name,
            told=tuple(self.told),
            text="".join(self.pieces),
            whole=self.whole,
            ended=self.ended,
            connections=self.connections,
        )


class Follower:
    """Reads a response, anew where it is begun again. Who is `patient` hangs up on nobody."""

    def __init__(self, platform: Platform, dice: Random, name: str = "", *, patient: bool = False) -> None:
        self.readings: list[Reading] = []
        self.name = name  # the response's, once it is acknowledged
        self._platform = platform
        self._dice = dice
        self._patient = patient
        self._told = _Told()

    @property
    def request_id(self) -> str:
        """The request that is followed; "" as long as it is not acknowledged."""
        return request_id_of(self.name) or ""

    async def begins(self, prompt: str, tokens: int) -> None:
        """Hands a request in until it is acknowledged, by the first event; and follows it meanwhile."""
        while not self.name:
            await self._platform.up.wait()
            await self._takes(in_background(self._platform, prompt, tokens))

    async def goes_on(self) -> None:
        """Resumes as often as it takes, within reason."""
        deadline = time.monotonic() + 3 * PATIENCE_S  # it may be struck again and again
        while not self.readings or self.readings[-1].ended == BEGUN_AGAIN:
            await self._platform.up.wait()
            told = self._told
            if told.told and not self._patient and self._dice.random() < FORGETS:
                told.forget_all_but(self._dice.randint(1, len(told.told)))
            await self._takes(told_on(self._platform, self.name, told.last))
            if time.monotonic() > deadline:
                self._ended("never")

    async def _takes(self, call: Call) -> None:
        """What one connection tells."""
        hangs_up = not self._patient and self._dice.random() < HANGS_UP
        try:
            await call.run(self._platform.port, self._dice.uniform(0.0, LONGEST_S) if hangs_up else None)
        except NotReached:
            await asyncio.sleep(LOOK_EVERY_S)
        if call.status == 200:
            self._told.connections += 1
            for event in call.events:
                self.name = self.name or event["response"]["id"]
                self._told.take(event)
        elif call.whole and call.status not in (0, 503):
            self._told.ended = f"{call.status} {call.json['error']['code']}"
        if self._told.ended:
            self._ended(self._told.ended)

    def _ended(self, how: str) -> None:
        self._told.ended = how
        self.readings.append(self._told.reading(self.request_id))
        self._told = _Told()
