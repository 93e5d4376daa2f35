"""The reply to a call that may be retried: what goes through it is noted, and its end waits to be stored."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

from events.requests import LARGEST_BODY
from services.front.call import Listener, Reply
from services.front.limits import Budget
from services.pool.sse import DONE_DATA, data_of, split
from services.router.exchange import KEEP_ALIVE
from services.router.idempotency.result import Result
from services.wire.fields import Fields

LARGEST = LARGEST_BODY - 2**16  # bytes of an answer: with its header lines it has to be one body
MAY_END = re.compile(rb"\[DONE\]|^event: response\.(?:completed|incomplete)", re.MULTILINE)
ANSWERS = (200, 202)  # statuses: what was queued is not to be queued again
ENDS = (b"event: response.completed\n", b"event: response.incomplete\n")


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended. `whole`: the client is to get a whole answer; `result` is None where there is none, or no
    room to keep it.
    """

    whole: bool
    result: Result | None = None


class Recording:
    """A `Reply` before another one, and the listener of that. `ended` is set once; what the client lacks then
    is sent by `deliver`. A client that leaves is not told of, where the answer `goes_on` without it.
    """

    def __init__(self, reply: Reply, budget: Budget, goes_on: Callable[[], bool]) -> None:
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._reply = reply
        self._budget = budget
        self._goes_on = goes_on
        self._listener: Listener | None = None
        self._fields = b""
        self._parts: list[bytes] = []
        self._counted = 0  # bytes of the budget
        self._torn = False  # too much to be kept
        self._last = b""  # the end of a stream, which the client has not seen yet
        self._paused = False
        self._send: Callable[[], None] | None = None
        reply.listener = self

    # --- the reply

    @property
    def listener(self) -> Listener | None:
        """Who makes the answer."""
        return self._listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self._listener = listener

    def send(self, status: int, fields: Fields, body: bytes) -> None:
        """See `Reply`: an answer waits, an error does not."""
        if status not in ANSWERS:
            self._reply.send(status, fields, body)
            self._end(Ended(False))
            return
        if self.ended.done():  # its client had left, and it was not to go on
            return
        self._budget.count(len(body))  # whoever made it counts it no longer
        self._counted += len(body)
        self._send = lambda: self._reply.send(status, fields, body)
        result = Result(fields=fields, body=body, stream=False, status=status)
        self._end(Ended(True, result if len(body) <= LARGEST else None))

    def start(self, status: int, fields: Fields) -> None:
        """See `Reply`."""
        self._fields = fields
        self._reply.start(status, fields)

    def write(self, data: bytes) -> None:
        """See `Reply`."""
        if self._last:  # what is behind the end waits with it
            self._last += data
        elif data != KEEP_ALIVE and MAY_END.search(data):
            told, self._last = _parted(data)
            self._reply.write(told)
        else:
            self._reply.write(data)
        if data != KEEP_ALIVE:
            self._note(data)

    def _note(self, data: bytes) -> None:
        size = len(data)
        if self._torn:
            return
        if self._counted + size > LARGEST or not self._budget.take(size):
            self._torn = True
            self._parts = []
            return
        self._counted += size
        self._parts.append(data)

    def finish(self) -> None:
        """See `Reply`: a stream without its last event is not whole, and its client has seen all of it."""
        if not self._last:
            self._reply.finish()
            self._end(Ended(False))
            return
        result = Result(fields=self._fields, body=b"".join(self._parts), stream=True)
        self._send = self._finish
        self._end(Ended(True, None if self._torn else result))

    def _finish(self) -> None:
        self._reply.write(self._last)
        self._reply.finish()

    def abort(self) -> None:
        """See `Reply`."""
        self._reply.abort()
        self._end(Ended(False))

    def _end(self, ended: Ended) -> None:
        self._listener = None
        self._parts, self._torn = [], True  # nothing is noted behind the end
        if not self.ended.done():
            self.ended.set_result(ended)

    def deliver(self) -> None:
        """The client gets what it has not seen yet."""
        self._budget.give_back(self._counted)
        self._counted = 0
        send, self._send = self._send, None
        if send is not None:
            send()

    # --- the client's side

    def client_gone(self) -> None:
        """See `Listener`."""
        listener = self._listener
        if self.ended.done():
            return
        if not self._goes_on():
            if listener is not None:
                listener.client_gone()
            self._end(Ended(False))
        elif self._paused and listener is not None:
            self._paused = False
            listener.client_resumed()

    def client_paused(self) -> None:
        """See `Listener`."""
        self._paused = True
        if self._listener is not None:
            self._listener.client_paused()

    def client_resumed(self) -> None:
        """See `Listener`."""
        self._paused = False
        if self._listener is not None:
            self._listener.client_resumed()


def _parted(data: bytes) -> tuple[bytes, bytes]:
    """Whole events, and from the one that ends the stream on what is not to be seen yet."""
    told = 0
    for event in split(data):
        start = data.index(event, told)
        if event.startswith(ENDS) or data_of(event) == DONE_DATA:
            return data[:start], data[start:]
        told = start + len(event)
    return data, b""
