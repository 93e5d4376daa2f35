"""One call to an engine, awaited whole."""

import asyncio
import time

import pytest

from services.dispatcher.engine_call import EngineAnswer, EngineCall
from services.pool.flight import Flight, Receiver
from services.pool.replica import Replica

pytestmark = pytest.mark.anyio


class LastMoment(Replica):
    """It gets the request in the very turn of the loop in which its time to connect is over."""

    def send(self, path: str, fields: bytes, body: bytes, receiver: Receiver) -> Flight:
        """See `Replica`."""
        loop = asyncio.get_running_loop()
        loop.call_later(0.005, loop.call_soon, receiver.sent)
        loop.call_later(0.03, receiver.responded, 200, {})
        loop.call_later(0.04, receiver.completed)
        loop.call_soon(time.sleep, 0.02)
        return Flight(self, b"", body, receiver, self.now())


async def test_a_call_that_was_sent_is_no_call_without_connection() -> None:
    replica = LastMoment("http://127.0.0.1:9")

    result = await EngineCall().run(replica, "/v1/x", b"", b"{}", connect_s=0.01, total_s=10)

    assert isinstance(result, EngineAnswer)
