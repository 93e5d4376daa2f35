"""What tests of guards share: what an engine says, and what came of it."""

from events.usage import Completed
from services.router.retries import Retries
from tests.support.client import Client
from tests.support.guards import (
    Keeping,
    TestGuard,
)
from tests.support.platform import eventually
from tests.support.routing import Routed
from tests.support.wire import DONE, delta, event, events_of, usage_event

WORD = "secret"
HELLO = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
STOP = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
SAID = (HELLO, delta("It is no se"), delta("cret. Or "), delta("is it?"), STOP, usage_event(7, 3), DONE)
KEPT_ALIVE = b": keep-alive\n\n"
SOON = Retries(attempts=2, first_s=0.01, longest_s=0.05)


def keeping() -> TestGuard:
    return TestGuard(watch=Keeping)


async def ended(it: Routed) -> Completed:
    """The one completion so far."""
    records = await it.tap.has(2)
    (found,) = [record for record in records if isinstance(record, Completed)]
    return found


def reasons(stream: bytes) -> list[str]:
    told = [one for one in events_of(stream) if isinstance(one, dict)]
    choices = [choice for one in told for choice in one.get("choices", ())]
    return [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]


async def rest_of(client: Client) -> bytes:
    """What is left of a stream."""
    pieces = []
    while piece := await client.chunk():
        pieces.append(piece)
    return b"".join(pieces)


async def gone(it: Routed) -> None:
    async def is_gone() -> bool:
        return it.budget.used == 0 and not it.exchanges.open

    await eventually(is_gone)
