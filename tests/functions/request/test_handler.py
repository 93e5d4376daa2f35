import dataclasses
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from events.config import Backend, Config, Model
from events.envelope import Envelope, Event, wrap
from events.inference import InferenceCompleted, InferenceRequested
from events.ingest import IngestReceived
from events.jobs import JobDue
from events.words import ApiKey, Invalid, Unavailable
from functions.request.handler import Ports, handle, request_id
from functions.request.intake import Terms
from services.adapters.memory.bodies import MemoryBodies
from services.adapters.memory.keys import MemoryKeys
from services.adapters.memory.requests import MemoryRequests

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONFIG = Config(
    backends={"pool": Backend(replicas=("http://engine:8000",))}, models={"gemma": Model(backend="pool")}
)
CHAT = {"model": "gemma", "messages": [{"role": "user", "content": "Hello."}]}
KEY = ApiKey(hash="h", id="ingest-acme", tenant="acme", name="ingest", created_at=NOON)


class ReadableSealer:
    """Marks what it sealed with all it was bound to, and opens only that."""

    async def seal(self, tenant: str, kind: str, body_id: str, clear: bytes) -> bytes:
        return self._mark(tenant, kind, body_id) + clear

    async def open(self, tenant: str, kind: str, body_id: str, sealed: bytes) -> bytes:
        mark = self._mark(tenant, kind, body_id)
        if not sealed.startswith(mark):
            raise Invalid("It was sealed for something else.")
        return sealed.removeprefix(mark)

    def _mark(self, *bound: str) -> bytes:
        return ("|".join(bound) + ":").encode()


@dataclass
class World:
    requests: MemoryRequests = field(default_factory=lambda: MemoryRequests(lambda: NOON))
    bodies: MemoryBodies = field(default_factory=lambda: MemoryBodies(lambda: NOON))
    keys: MemoryKeys = field(default_factory=MemoryKeys)
    sealer: ReadableSealer = field(default_factory=ReadableSealer)

    async def hear(self, event: Event, **at: Any) -> Event:
        (said,) = await handle(heard(event, **at), self.ports())
        return said

    def ports(self) -> Ports:
        return Ports(
            requests=self.requests,
            bodies=self.bodies,
            sealer=self.sealer,
            keys=self.keys,
            config=lambda: CONFIG,
            terms=Terms(),
        )

    async def prompt(self, name: str) -> Any:
        found = await self.requests.get(name)
        assert found is not None
        document = found.document
        sealed = await self.bodies.get(document.body_id)
        assert sealed is not None
        return json.loads(await self.sealer.open(document.tenant, "prompt", document.body_id, sealed))


@pytest.fixture
async def world() -> World:
    made = World()
    await made.keys.add(KEY)
    return made


def heard(event: Event, time: datetime = NOON) -> Envelope:
    return wrap(event, id="m1", source="/ingest", time=time, traceparent="00-trace")


def message(body: object = CHAT, **changed: Any) -> IngestReceived:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return replace(IngestReceived(tenant="acme", key_id="ingest-acme", message_id="m1", body=text), **changed)


async def test_a_message_becomes_a_stored_sealed_and_announced_request(world: World) -> None:
    said = await world.hear(message())
    name = request_id(message())
    assert InferenceRequested(request_id=name, tenant="acme", model="gemma", lane="interactive") == said
    found = await world.requests.get(name)
    assert found is not None
    assert ("accepted", "ingest-acme", "00-trace") == (
        found.document.state,
        found.document.key_id,
        found.document.traceparent,
    )
    assert CHAT == await world.prompt(name)


async def test_a_redelivered_message_makes_the_same_request_and_says_the_same(world: World) -> None:
    first = await world.hear(message())
    stored = await world.requests.get(request_id(message()))
    again = await world.hear(message())
    assert first == again
    assert stored == await world.requests.get(request_id(message()))


async def test_an_idempotency_key_makes_one_request_of_two_messages_and_the_first_prompt_stays(
    world: World,
) -> None:
    other = CHAT | {"messages": [{"role": "user", "content": "Something else."}]}
    first = await world.hear(message(idempotency_key="k"))
    second = await world.hear(message(other, idempotency_key="k", message_id="m2"))
    assert first == second
    assert CHAT == await world.prompt(request_id(message(idempotency_key="k")))


def test_requests_are_named_by_tenant_and_by_idempotency_key_or_message() -> None:
    names = [
        request_id(message()),
        request_id(message(message_id="m2")),
        request_id(message(tenant="other")),
        request_id(message(idempotency_key="k")),
    ]
    assert len(names) == len(set(names))
    assert request_id(message(idempotency_key="k")) == request_id(
        message(idempotency_key="k", message_id="m2")
    )


async def test_a_body_sealed_at_the_door_is_opened(world: World) -> None:
    sealed = await world.sealer.seal("acme", "ingest", "m1", message().body)
    await world.hear(message(sealed, sealed=True))
    assert CHAT == await world.prompt(request_id(message()))


async def test_a_body_sealed_for_another_tenant_does_not_open(world: World) -> None:
    sealed = await world.sealer.seal("other", "ingest", "m1", message().body)
    with pytest.raises(Invalid):
        await world.hear(message(sealed, sealed=True))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"Hello", None),
        (CHAT | {"model": "gpt-9"}, "model"),
        (CHAT | {"stream": True}, "stream"),
        ({"url": "/v1/embeddings", "body": {}}, "url"),
    ],
)
async def test_what_cannot_run_fails_where_its_publisher_can_read_why(
    world: World, body: object, param: str | None
) -> None:
    said = await world.hear(message(body))
    name = request_id(message())
    assert InferenceCompleted(request_id=name, tenant="acme", status="failed", attempts=0, model="") == said
    found = await world.requests.get(name)
    assert found is not None
    assert found.document.problem is not None
    assert param == found.document.problem.param


async def test_what_failed_once_fails_again_the_same_way(world: World) -> None:
    assert await world.hear(message(b"Hello")) == await world.hear(message(b"Hello"))


@pytest.mark.parametrize("at", [NOON + timedelta(days=1), NOON + timedelta(days=2)])
async def test_a_revoked_ingest_topic_takes_nothing(world: World, at: datetime) -> None:
    await world.keys.revoke("ingest-acme", NOON + timedelta(days=1))
    with pytest.raises(Invalid, match="acme"):
        await world.hear(message(), time=at)


async def test_an_ingest_topic_without_a_key_takes_nothing(world: World) -> None:
    with pytest.raises(Invalid, match="other"):
        await world.hear(message(tenant="other"))


async def test_another_event_is_not_for_this_function(world: World) -> None:
    with pytest.raises(Invalid, match=r"penstock\.job\.due\.v1"):
        await world.hear(JobDue(job="settle-usage", slot=NOON))


class FullDisk:
    async def put(self, body_id: str, sealed: bytes, expire_at: datetime) -> None:
        raise Unavailable("The disk is full.")


async def test_no_document_is_stored_before_its_prompt_is(world: World) -> None:
    with pytest.raises(Unavailable):
        await handle(heard(message()), dataclasses.replace(world.ports(), bodies=FullDisk()))
    assert await world.requests.get(request_id(message())) is None
