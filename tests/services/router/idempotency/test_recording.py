"""What is noted of a reply whose client may be gone."""

import asyncio

import pytest

from services.front.limits import Budget
from services.router.idempotency.recording import Recording
from tests.services.router.test_screen import Reply
from tests.support.wire import DONE, delta

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("stream", [False, True])
async def test_what_comes_behind_the_end_holds_nothing(stream: bool) -> None:
    """As when a response is kept before it is told, and its client has left meanwhile."""
    budget = Budget(2**20)
    recording = Recording(Reply(), budget, lambda: False)
    recording.client_gone()
    recording.deliver()
    if stream:
        recording.start(200, b"")
        recording.write(delta("Late."))
        recording.write(DONE)
        recording.finish()
    else:
        recording.send(200, b"", b"Late.")
    await asyncio.sleep(0)

    assert not recording.ended.result().whole
    assert 0 == budget.used
