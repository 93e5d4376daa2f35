"""A front on a port of its own, with endpoints whose behaviour a test decides."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.front.call import Call, Endpoint, Reply
from services.front.front import Front
from services.front.limits import Budget, Limits
from services.runtime.listening import Listening
from services.wire.errors import render_refusal
from services.wire.fields import JSON
from tests.support.client import PATIENCE_S, Response

PLENTY = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A front that listens."""

    front: Listening
    port: int
    budget: Budget

    async def all_left(self) -> None:
        """Waits until the front knows that every client is gone."""
        async with asyncio.timeout(PATIENCE_S):
            while self.front.connections:
                await asyncio.sleep(0.01)

    async def all_given_back(self) -> None:
        """Waits until nothing of the budget is used any more."""
        async with asyncio.timeout(PATIENCE_S):
            while self.budget.used:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(
    endpoint: Endpoint,
    limits: Limits | None = None,
    *,
    budget: int = PLENTY,
    kind: type[Listening] = Front,
) -> AsyncIterator[Serving]:
    held = Budget(budget)
    front = kind(endpoint, render_refusal=render_refusal, limits=limits, budget=held)
    port = await front.listen("127.0.0.1", 0)
    try:
        yield Serving(front=front, port=port, budget=held)
    finally:
        await front.close(0)


def echo(call: Call, reply: Reply) -> None:
    """Says what was asked."""
    reply.send(200, JSON, b" ".join((call.method, call.target, call.body)))


class Held:
    """Answers nothing before the test does; notes what becomes of the client meanwhile."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.replies: list[Reply] = []
        self.heard: list[str] = []
        self._news = asyncio.Condition()

    def __call__(self, call: Call, reply: Reply) -> None:
        self.calls.append(call)
        self.replies.append(reply)
        reply.listener = self

    def client_gone(self) -> None:
        self.heard.append("gone")

    def client_paused(self) -> None:
        self.heard.append("paused")

    def client_resumed(self) -> None:
        self.heard.append("resumed")

    async def reply(self, number: int = 1) -> Reply:
        """The way back for the `number`-th call, once it is here."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.replies) < number:
                await asyncio.sleep(0.001)
        return self.replies[number - 1]

    async def hears(self, news: str) -> None:
        """Waits until that was heard."""
        async with asyncio.timeout(PATIENCE_S):
            while news not in self.heard:
                await asyncio.sleep(0.001)


def is_refusal(answer: Response, status: int, code: str) -> bool:
    return (status, code, "close") == (answer.status, answer.error["code"], answer.headers["connection"])
