"""Guards for tests: complete, small, and what a real one may be modelled on."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from services.guarding.guard import Allowed, Blocked, Cut, Prompt, Text, Verdict, Watch, Watching

REDACTED = "[redacted]"


class Redacting:
    """Replaces words wherever they stand, also where they come in pieces; holds back what may begin one."""

    def __init__(self, *words: str) -> None:
        self._words = sorted(words, key=len, reverse=True)
        self._held = ""

    def feed(self, text: str) -> str | Cut:
        self._held += text
        released = self._without_words()
        keep = self._beginning(self._held)
        end = len(self._held) - keep
        released, self._held = released + self._held[:end], self._held[end:]
        return released

    def finish(self) -> str | Cut:
        rest, self._held = self._held, ""
        return rest

    def _without_words(self) -> str:
        """What is before the end of the last word, without the words."""
        released = ""
        while found := self._first():
            at, word = found
            released += self._held[:at] + REDACTED
            self._held = self._held[at + len(word) :]
        return released

    def _first(self) -> tuple[int, str] | None:
        found = [(at, word) for word in self._words if (at := self._held.find(word)) >= 0]
        return min(found, default=None, key=lambda one: one[0])

    def _beginning(self, text: str) -> int:
        """How long the longest end is that a word may begin with."""
        longest = min(len(text), max(map(len, self._words)) - 1)
        sizes = range(longest, 0, -1)
        return next((size for size in sizes if any(one.startswith(text[-size:]) for one in self._words)), 0)


class Blocking(Redacting):
    """Cuts the answer before the first of the words."""

    def feed(self, text: str) -> str | Cut:
        released = super().feed(text)
        assert isinstance(released, str)
        before, word, _ = released.partition(REDACTED)
        return Cut(released=before) if word else released


class Passing:
    """Lets everything out at once."""

    def feed(self, text: str) -> str | Cut:
        return text

    def finish(self) -> str | Cut:
        return ""


class Keeping:
    """Lets nothing out before the end."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str | Cut:
        self._held += text
        return ""

    def finish(self) -> str | Cut:
        return self._held


class Failing:
    """Raises at its `after`-th piece, with words nobody may read."""

    def __init__(self, after: int = 1) -> None:
        self._left = after

    def feed(self, text: str) -> str | Cut:
        self._left -= 1
        if not self._left:
            raise RuntimeError(f"I choke on {text}")
        return text

    def finish(self) -> str | Cut:
        return ""


@dataclass(slots=True)
class TestGuard:
    """Blocks prompts in which one of `words` stands, and watches every text of the answer as it is told."""

    __test__ = False

    watch: Callable[[], Watch] | None = None
    words: tuple[str, ...] = ()
    prompts: list[Prompt] = field(default_factory=list)
    watched: list[Text] = field(default_factory=list)

    def judge(self, prompt: Prompt) -> Verdict | Awaitable[Verdict]:
        self.prompts.append(prompt)
        if any(word in said for said in strings(json.loads(prompt.body)) for word in self.words):
            return Blocked()
        return Allowed(watch=self._watching)

    @property
    def _watching(self) -> Watching | None:
        watch = self.watch
        if watch is None:
            return None

        def watching(text: Text) -> Watch:
            self.watched.append(text)
            return watch()

        return watching


@dataclass(slots=True)
class Slow:
    """Gives its verdict once it may; fails where it is told to."""

    verdict: Verdict | Exception = field(default_factory=Allowed)
    may: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def judge(self, prompt: Prompt) -> Verdict:
        self.asked.set()
        try:
            await self.may.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


def redacting(*words: str) -> TestGuard:
    """Redacts answers, and lets every prompt pass."""
    return TestGuard(watch=lambda: Redacting(*words))


def blocking(*words: str) -> TestGuard:
    """Blocks prompts with these words, and cuts answers before them."""
    return TestGuard(watch=lambda: Blocking(*words), words=words)


def strings(content: Any) -> Iterator[str]:
    """Every string of a JSON document."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict | list):
        for inner in content.values() if isinstance(content, dict) else content:
            yield from strings(inner)
