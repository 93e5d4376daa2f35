"""A reply in bytes, one at a time."""

import asyncio
from collections import deque

from services.front.call import Listener, Reply
from services.wire.fields import Fields


class Crumbs:
    """A `Reply` whose body goes out a byte each `every_s`; its head goes out at once.

    What is left when the client is gone, or the reply aborted, is dropped.
    """

    def __init__(self, reply: Reply, every_s: float) -> None:
        self._reply = reply
        self._every_s = every_s
        self._left: deque[int] = deque()
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def listener(self) -> Listener | None:
        """See `Reply`."""
        return self._reply.listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self._reply.listener = listener

    def send(self, status: int, fields: Fields, body: bytes) -> None:
        """See `Reply.send`."""
        self.start(status, fields)
        self.write(body)
        self.finish()

    def start(self, status: int, fields: Fields) -> None:
        """See `Reply.start`."""
        self._reply.start(status, fields)

    def write(self, data: bytes) -> None:
        """See `Reply.write`."""
        self._left.extend(data)
        if self._timer is None:
            self._tick()

    def finish(self) -> None:
        """See `Reply.finish`."""
        self._ended = True
        if self._timer is None:
            self._tick()

    def abort(self) -> None:
        """See `Reply.abort`."""
        self._left.clear()
        self._reply.abort()

    def _tick(self) -> None:
        self._timer = None
        if self._reply.listener is None:  # the client is gone
            return
        if self._left:
            self._reply.write(bytes([self._left.popleft()]))
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._tick)
        elif self._ended:
            self._reply.finish()
