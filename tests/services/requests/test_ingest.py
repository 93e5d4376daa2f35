"""Publishing on a tenant's ingest topic as its apps do, where others made the topic."""

from pathlib import Path

import pytest

from events.bus import Message
from events.catalog import Subscription, ingest_key, ingest_subscription
from events.words import Invalid
from functions.request.handler import request_id
from services.adapters.local.master_key import FileMasterKey
from services.adapters.memory.bus import MemoryBus
from services.adapters.memory.data_keys import MemoryDataKeys
from services.adapters.memory.keys import MemoryKeys
from services.embedded.ingest import LocalIngest
from services.requests.ingest import IngestTopics, ingest_envelope, received
from services.sealing.sealer import Sealer
from tests.contracts.adapters import START, Clock

pytestmark = pytest.mark.anyio

HERE = ingest_subscription("acme")


class Site:
    """A bus and a key ring in memory."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.bus = MemoryBus(self.clock)
        self.keys = MemoryKeys()
        self.sealer = Sealer(FileMasterKey(folder / "master-key"), MemoryDataKeys())
        self.ingest = IngestTopics(self.bus, self.sealer, self.keys, now=self.clock)

    async def message(self) -> Message:
        (found,) = await self.bus.receive(HERE.name, 1)
        return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_a_body_is_published_sealed_under_the_name_of_its_request(site: Site) -> None:
    await site.bus.ensure([HERE])
    told = await site.ingest.publish("acme", b"a body", "order-1")
    message = await site.message()
    event = received("acme", message)

    assert b"a body" not in message.data
    assert b"a body" == await site.sealer.open("acme", "ingest", told.message_id, event.body)
    assert (told.message_id, "order-1", True) == (event.message_id, event.idempotency_key, event.sealed)
    assert told.request_id == request_id(event)
    assert START == ingest_envelope("acme", message, site.clock.forward(5)).time


async def test_the_topic_acts_as_a_key_that_can_be_revoked(site: Site) -> None:
    await site.bus.ensure([HERE])
    await site.ingest.open("acme")
    await site.ingest.open("acme")
    key = ingest_key("acme", START)
    assert key == await site.keys.by_id("acme", key.id)

    await site.keys.revoke(key.id, START)
    with pytest.raises(Invalid, match="was revoked"):
        await site.ingest.publish("acme", b"a body", "")


async def test_on_one_machine_the_topic_is_made_once_and_consumed(site: Site) -> None:
    consumed: list[tuple[str, Subscription]] = []
    local = LocalIngest(site.ingest, site.bus, lambda *what: consumed.append(what))
    await local.publish("acme", b"a body", "")
    await local.open("acme")

    assert [("acme", HERE)] == consumed
    assert (await site.message()).data
