"""What a document owes is published before it is forgotten."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from events.bus import Message, message_of
from events.envelope import derive, wrap
from events.inference import InferenceCompleted
from events.jobs import JobDue
from events.requests import RequestDocument, Versioned, owed
from events.words import Unavailable
from services.adapters.memory.requests import MemoryRequests
from services.requests.outbox import follows, message, pay, tell

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BARE = RequestDocument(
    id="req_1",
    tenant="acme",
    key_id="k1",
    url="/v1/chat/completions",
    model="gemma",
    lane="interactive",
    state="failed",
    created_at=NOON,
    deadline_at=NOON,
    expire_at=datetime.max.replace(tzinfo=UTC),
    body_id="b",
)
ENDED = InferenceCompleted(request_id="req_1", tenant="acme", status="failed", attempts=0, model="gemma")
OWED = owed(BARE, ENDED, NOON, "/test")
OWING = replace(BARE, owed=(OWED,))


class Publisher:
    """Keeps what is published; while it is away, nothing is."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.said: list[Message] = []

    async def publish(self, messages: Sequence[Message]) -> None:
        if self.away:
            raise Unavailable("The bus is away.")
        self.said += messages


async def owing() -> tuple[MemoryRequests, Versioned]:
    requests = MemoryRequests(lambda: NOON)
    return requests, await requests.create(OWING)


async def left(requests: MemoryRequests) -> int:
    found = await requests.get("req_1")
    assert found is not None
    return len(found.document.owed)


async def test_what_is_paid_is_published_and_forgotten() -> None:
    (requests, stored), publisher = await owing(), Publisher()
    await pay(stored, requests, publisher)
    assert ([message(OWED)], 0) == (publisher.said, await left(requests))


async def test_who_owes_nothing_pays_nothing() -> None:
    (requests, stored), publisher = await owing(), Publisher()
    await pay(Versioned(document=BARE, version=stored.version), requests, publisher)
    assert ([], 1) == (publisher.said, await left(requests))


async def test_a_document_goes_on_owing_what_could_not_be_published() -> None:
    requests, stored = await owing()
    with pytest.raises(Unavailable):
        await pay(stored, requests, Publisher(away=True))
    assert 1 == await left(requests)


async def test_a_document_that_moved_on_goes_on_owing() -> None:
    (requests, stored), publisher = await owing(), Publisher()
    await requests.replace(OWING, stored.version)
    await pay(stored, requests, publisher)
    assert (1, 1) == (len(publisher.said), await left(requests))


async def test_telling_forgets_nothing() -> None:
    (requests, stored), publisher = await owing(), Publisher()
    await tell(stored.document, publisher)
    assert (1, 1) == (len(publisher.said), await left(requests))


def test_an_event_follows_from_what_was_consumed_and_a_debt_from_its_document() -> None:
    event = JobDue(job="x", slot=NOON)
    for name in ("m1", "m2"):
        consumed = wrap(event, id=name, source="/scheduler", time=NOON)
        assert message(OWED) == follows(consumed, OWED, index=1, source="/test")
        derived = message_of(derive(consumed, event, index=1, source="/test"))
        assert derived == follows(consumed, event, index=1, source="/test")
