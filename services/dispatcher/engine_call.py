"""One call to an engine, awaited whole."""

import asyncio

from services.pool.flight import Failure, Flight, Headers
from services.pool.replica import Replica

MAX_ANSWER = 64 * 2**20


class EngineAnswer:
    """A whole response."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class EngineCall:
    """Gathers a response; `wait` returns it, or why there is none. Cancelling the wait cancels the call."""

    def __init__(self) -> None:
        self._done: asyncio.Future[EngineAnswer | Failure] = asyncio.get_running_loop().create_future()
        self._progress = asyncio.Event()  # it was sent, or failed before
        self._status = 0
        self._headers: Headers = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._flight: Flight | None = None

    async def run(
        self, replica: Replica, path: str, fields: bytes, body: bytes, *, connect_s: float, total_s: float
    ) -> EngineAnswer | Failure:
        """Makes the call. Raises `TimeoutError` after `total_s`."""
        self._flight = replica.send(path, fields, body, self)
        try:
            await self._connect(connect_s)
            return await asyncio.wait_for(asyncio.shield(self._done), total_s)
        finally:
            self._flight.cancel()

    async def _connect(self, connect_s: float) -> None:
        try:
            await asyncio.wait_for(self._progress.wait(), connect_s)
        except TimeoutError:
            if self._progress.is_set():  # in the same turn of a loop that was busy
                return
            self._settle(Failure(kind="connect", message=f"no connection within {connect_s:g} s"))

    def _settle(self, result: EngineAnswer | Failure) -> None:
        self._progress.set()
        if not self._done.done():
            self._done.set_result(result)

    def sent(self) -> None:
        """See `Receiver`."""
        self._progress.set()

    def responded(self, status: int, headers: Headers) -> None:
        """See `Receiver`."""
        self._status = status
        self._headers = headers

    def received(self, data: bytes) -> None:
        """See `Receiver`."""
        self._size += len(data)
        if self._size <= MAX_ANSWER:
            self._parts.append(data)

    def completed(self) -> None:
        """See `Receiver`."""
        if self._size > MAX_ANSWER:
            self._settle(Failure(kind="large", message=f"its answer has {self._size} bytes"))
        else:
            self._settle(EngineAnswer(self._status, self._headers, b"".join(self._parts)))

    def failed(self, failure: Failure) -> None:
        """See `Receiver`."""
        self._settle(failure)
