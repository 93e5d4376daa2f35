"""A client that waits for an answer which is made for another call."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from services.front.call import Listener, Reply
from services.router.exchange import EVENT_STREAM, KEEP_ALIVE
from services.wire.fields import Fields, field
from services.wire.ids import request_id


class _Asked(msgspec.Struct):
    stream: bool | None = None


class Waiting:
    """Hears whether its client leaves; where that wants a stream, it is shown in time that one will come.

    `reply` is how to answer it. `after_s`: between two signs of life, by the `clock`.
    """

    def __init__(self, reply: Reply, body: bytes, after_s: float, clock: Callable[[], float]) -> None:
        self.reply = reply
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._body = body
        self._after_s = after_s
        self._clock = clock
        self._alive_at = clock()
        reply.listener = self

    @property
    def gone(self) -> bool:
        """Whether the client left."""
        return self.left.done()

    async def hears(self, news: "asyncio.Future[Any] | None", until: float) -> bool:
        """Waits for news, or for None; False where the client left, or the time is over."""
        hears: tuple[asyncio.Future[Any], ...] = (self.left,) if news is None else (self.left, news)
        while not any(one.done() for one in hears) and (left_s := until - self._clock()) > 0:
            due_s = self._alive_at + self._after_s - self._clock()
            await asyncio.wait(
                hears, timeout=max(0.0, min(left_s, due_s)), return_when=asyncio.FIRST_COMPLETED
            )
            if due_s <= left_s and not any(one.done() for one in hears):
                self._keep_alive()
        return not self.gone and news is not None and news.done()

    def _keep_alive(self) -> None:
        self._alive_at = self._clock()
        if not isinstance(self.reply, Begun):
            if not _wants_stream(self._body):
                return
            self.reply.start(200, field("x-request-id", request_id()) + EVENT_STREAM)
            self.reply = Begun(self.reply)
        self.reply.write(KEEP_ALIVE)

    # --- the client's side

    def client_gone(self) -> None:
        """See `Listener`."""
        if not self.left.done():
            self.left.set_result(None)

    def client_paused(self) -> None:
        """See `Listener`."""

    def client_resumed(self) -> None:
        """See `Listener`."""


def _wants_stream(body: bytes) -> bool:
    try:
        return msgspec.json.decode(body, type=_Asked).stream is True
    except (ValueError, RecursionError):
        return False  # admission will say what is wrong with it


class Begun:
    """A reply whose stream was begun: its status is told, and what is an error becomes the last event."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    @property
    def listener(self) -> Listener | None:
        """See `Reply`."""
        return self._reply.listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self._reply.listener = listener

    def send(self, status: int, fields: Fields, body: bytes) -> None:
        """See `Reply`."""
        self._reply.write(b"data: %b\n\n" % body)
        self._reply.finish()

    def start(self, status: int, fields: Fields) -> None:
        """See `Reply`: it was."""

    def write(self, data: bytes) -> None:
        """See `Reply`."""
        self._reply.write(data)

    def finish(self) -> None:
        """See `Reply`."""
        self._reply.finish()

    def abort(self) -> None:
        """See `Reply`."""
        self._reply.abort()
