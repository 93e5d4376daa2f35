"""Answers to deliveries: few calls carry many of them, and none waits for company."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

MAX_IDS = 1_000  # of one call: it takes 512 KiB, and an ack id has about 200 bytes

Send = Callable[[Sequence[str]], Awaitable[None]]


async def send_in_parts(send: Send, ack_ids: Sequence[str]) -> None:
    """One call after the other; nothing for no ids."""
    for start in range(0, len(ack_ids), MAX_IDS):
        await send(ack_ids[start : start + MAX_IDS])


class Answers:
    """One kind of answer (ack, or nack) for one subscription.

    The first goes at once; those given while a call is under way go together in the next.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[tuple[Sequence[str], asyncio.Future[None]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def give(self, ack_ids: Sequence[str]) -> None:
        """Returns when the server heard them; raises what sending raised.

        Whoever stops waiting leaves the answer on its way.
        """
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((ack_ids, heard))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        await asyncio.shield(heard)

    async def drain(self) -> None:
        """Returns when nothing is under way any more."""
        if self._sender is not None:
            await self._sender

    async def _send_all(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            ack_ids = [ack_id for some, _ in waiting for ack_id in some]
            (outcome,) = await asyncio.gather(send_in_parts(self._send, ack_ids), return_exceptions=True)
            for _, heard in waiting:
                if outcome is None:
                    heard.set_result(None)
                else:
                    heard.set_exception(outcome)
        self._sender = None
