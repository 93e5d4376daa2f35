"""Who waits for a verdict, and who does not any more."""

import asyncio
import contextlib

import pytest

from events.words import Refusal
from services.front.call import Listener
from services.guarding.guard import Allowed, Blocked, Prompt, Verdict
from services.router.screen import Screen
from services.wire.errors import FAILED
from tests.support.guards import Slow, TestGuard

pytestmark = pytest.mark.anyio

PROMPT = Prompt(tenant="acme", model="gemma", endpoint="/v1/chat/completions", body=b"{}")


class Reply:
    """Of which only the listener counts."""

    listener: Listener | None = None

    def send(self, status: int, fields: bytes, body: bytes) -> None: ...

    def start(self, status: int, fields: bytes) -> None: ...

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    def abort(self) -> None: ...


class Lingers(Slow):
    """Ends only once it may."""

    async def judge(self, prompt: Prompt) -> Verdict:
        while not self.may.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.may.wait()
        return Allowed()


async def test_a_verdict_given_at_once_takes_no_turn_of_the_loop() -> None:
    heard: list[Allowed | Refusal] = []
    Screen(TestGuard()).ask(PROMPT, Reply(), heard.append)

    assert [Allowed()] == heard


async def test_a_client_that_leaves_at_once_leaves_nothing_behind() -> None:
    heard: list[Allowed | Refusal] = []
    reply, guard = Reply(), Slow()
    screen = Screen(guard)
    screen.ask(PROMPT, reply, heard.append)
    assert reply.listener is not None
    reply.listener.client_gone()
    await screen.close(10)

    assert [] == heard
    assert not guard.asked.is_set()


async def test_verdicts_may_still_come_while_a_router_stops() -> None:
    heard: list[Allowed | Refusal] = []
    guard = Slow(verdict=Blocked())
    screen = Screen(guard)
    screen.ask(PROMPT, Reply(), heard.append)
    asyncio.get_running_loop().call_later(0.01, guard.may.set)
    await screen.close(10)

    (refusal,) = heard
    assert isinstance(refusal, Refusal)
    assert "content_filter" == refusal.problem.code


async def test_who_left_is_told_nothing_when_a_router_stops() -> None:
    heard: list[Allowed | Refusal] = []
    guard = Lingers()
    reply, screen = Reply(), Screen(guard)
    screen.ask(PROMPT, reply, heard.append)
    assert reply.listener is not None
    await asyncio.sleep(0)
    reply.listener.client_paused()
    reply.listener.client_resumed()
    reply.listener.client_gone()
    await screen.close(0)
    guard.may.set()
    await screen.close(10)

    assert [] == heard


async def test_nobody_is_left_waiting_where_going_on_fails(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Allowed | Refusal] = []

    def go_on(said: Allowed | Refusal) -> None:
        heard.append(said)
        if said == Allowed():
            raise RuntimeError("It fails.")

    guard = Slow()
    guard.may.set()
    screen = Screen(guard)
    screen.ask(PROMPT, Reply(), go_on)
    await screen.close(10)

    assert [Allowed(), FAILED] == heard
    assert "It fails." in caplog.text
