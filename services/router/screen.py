"""The guard before the hot path: every prompt is judged before anything is done about it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial

from events.words import Refusal
from services.front.call import Reply
from services.guarding.asking import WITHIN_S, ask, wait
from services.guarding.guard import Allowed, Guard, Prompt, Verdict
from services.wire.errors import CLOSING, FAILED

log = logging.getLogger("penstock.router")

Then = Callable[[Allowed | Refusal], None]


class Screen:
    """Asks a guard; a verdict that takes longer than `within_s` is a refusal."""

    def __init__(self, guard: Guard, within_s: float = WITHIN_S) -> None:
        self._guard = guard
        self._within_s = within_s
        self._waits: dict[asyncio.Task[None], Then] = {}

    def ask(self, prompt: Prompt, reply: Reply, then: Then) -> None:
        """Goes on with the verdict, at once where the guard needs no time for it; where the client leaves
        before, it ends.
        """
        said = ask(self._guard, prompt)
        if not isinstance(said, Awaitable):
            then(said)
            return
        task = asyncio.get_running_loop().create_task(self._wait(said, then))
        reply.listener = _Asking(task)
        self._waits[task] = then
        task.add_done_callback(partial(self._over, said))

    async def _wait(self, said: Awaitable[Verdict], then: Then) -> None:
        verdict = await wait(said, self._within_s)
        task = asyncio.current_task()
        if task is None or task.cancelling():  # a guard may go on when it is told to stop
            return
        try:
            then(verdict)
        except Exception:
            log.exception("a call cannot go on behind the guard")
            then(FAILED)

    def _over(self, said: Awaitable[Verdict], task: asyncio.Task[None]) -> None:
        del self._waits[task]
        if isinstance(said, Coroutine):
            said.close()  # it was never begun where the client left at once

    async def close(self, grace_s: float) -> None:
        """Lets verdicts come for `grace_s`; who waits for one then is refused."""
        if self._waits:
            await asyncio.wait(self._waits, timeout=grace_s)
        for task, then in self._waits.items():
            if task.done() or task.cancelling():  # it went on just now, or its client has left
                continue
            task.cancel()
            then(CLOSING)


class _Asking:
    """Nobody waits for the verdict once the client is gone."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def client_gone(self) -> None:
        """See `Listener`."""
        self._task.cancel()

    def client_paused(self) -> None:
        """See `Listener`."""

    def client_resumed(self) -> None:
        """See `Listener`."""
