import dataclasses
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from events.catalog import KNOWN
from events.config import Backend, Config, Model
from events.envelope import Envelope, Event, decode, wrap
from events.inference import InferenceCompleted, InferenceRequested
from events.ingest import IngestReceived
from events.jobs import JobDue
from events.requests import Owed, RequestDocument
from events.words import ApiKey, Invalid, Unavailable, hashed_id
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
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"
COMPLETED = "penstock.inference.completed.v1"


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
    terms: Terms = field(default_factory=Terms)

    async def hear(self, event: Event, **at: Any) -> Event | Owed:
        (said,) = await handle(heard(event, **at), self.ports())
        return said

    async def refuses(self, event: Event, **at: Any) -> tuple[Owed, Any]:
        """What is said of a message that cannot run, and the error its publisher reads."""
        said = await self.hear(event, **at)
        assert isinstance(said, Owed)
        assert isinstance(event, IngestReceived)
        document = await self.document(request_id(event))
        assert ("failed", (said,)) == (document.state, document.owed)
        assert document.answer is not None
        sealed = await self.bodies.get(document.answer.body_id)
        assert sealed is not None
        told = await self.sealer.open(document.tenant, "answer", document.answer.body_id, sealed)
        return said, json.loads(told)["error"]

    async def document(self, name: str) -> RequestDocument:
        found = await self.requests.get(name)
        assert found is not None
        return found.document

    def ports(self) -> Ports:
        return Ports(
            requests=self.requests,
            bodies=self.bodies,
            sealer=self.sealer,
            keys=self.keys,
            config=lambda: CONFIG,
            terms=self.terms,
        )

    async def prompt(self, name: str) -> Any:
        document = await self.document(name)
        sealed = await self.bodies.get(document.body_id)
        assert sealed is not None
        return json.loads(await self.sealer.open(document.tenant, "prompt", document.body_id, sealed))


@pytest.fixture
async def world() -> World:
    made = World()
    await made.keys.add(KEY)
    return made


def heard(event: Event, time: datetime = NOON) -> Envelope:
    return wrap(event, id="m1", source="/ingest", time=time, traceparent=TRACE)


def message(body: object = CHAT, **changed: Any) -> IngestReceived:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return replace(IngestReceived(tenant="acme", key_id="ingest-acme", message_id="m1", body=text), **changed)


async def test_a_message_becomes_a_stored_sealed_and_announced_request(world: World) -> None:
    said = await world.hear(message())
    name = request_id(message())
    assert InferenceRequested(request_id=name, tenant="acme", model="gemma", lane="interactive") == said
    document = await world.document(name)
    assert ("accepted", "ingest-acme", TRACE) == (document.state, document.key_id, document.traceparent)
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
    _, error = await world.refuses(message(sealed, sealed=True))
    assert ("It was sealed for something else.", "invalid_body") == (error["message"], error["code"])


CANNOT_RUN: dict[str, tuple[object, str | None]] = {
    "no JSON": (b"Hello", None),
    "nothing": (b"", None),
    "not UTF-8": (b'{"body": {}, "url": "\xff"}', None),
    "not UTF-8 in a name": (b'{"\xff": 1}', "model"),
    "too deep": (b'{"body": ' + b"[" * 50_000, None),
    "too deep in an envelope": (b'{"url": "/v1/chat/completions", "body": ' + b"[" * 50_000, None),
    "not an object": (b"[]", None),
    "another type": (CHAT | {"messages": 5}, "messages"),
    "an envelope's body of another type": ({"url": "/v1/chat/completions", "body": 5}, None),
    "an unknown model": (CHAT | {"model": "gpt-9"}, "model"),
    "a stream": (CHAT | {"stream": True}, "stream"),
    "an unknown url": ({"url": "/v1/images/generations", "body": {}}, "url"),
}


@pytest.mark.parametrize(("body", "param"), CANNOT_RUN.values(), ids=CANNOT_RUN)
async def test_what_cannot_run_fails_where_its_publisher_can_read_why(
    world: World, body: object, param: str | None
) -> None:
    owed, error = await world.refuses(message(body))
    said = decode(owed.attributes, owed.data, KNOWN).event
    assert isinstance(said, InferenceCompleted)
    assert (request_id(message()), "acme", "failed", 0) == (
        said.request_id,
        said.tenant,
        said.status,
        said.attempts,
    )
    assert said.status_code in (400, 404)
    assert error["message"].endswith(".")
    assert param == error["param"]


async def test_a_message_that_is_too_large_fails_with_the_limit_whether_sealed_or_not(world: World) -> None:
    body = message().body
    world.terms = Terms(body_bytes=len(body) - 1)
    sealed = await world.sealer.seal("acme", "ingest", "m2", body)
    for large in (message(), message(sealed, sealed=True, message_id="m2")):
        owed, error = await world.refuses(large)
        assert b'"status_code":413' in owed.data
        assert "request_too_large" == error["code"]
        assert f"{len(body)} bytes" in error["message"]


async def test_a_message_sealed_by_us_may_be_as_large_as_any(world: World) -> None:
    body = message().body
    world.terms = Terms(body_bytes=len(body))
    sealed = await world.sealer.seal("acme", "ingest", "m1", body)

    assert isinstance(await world.hear(message(sealed, sealed=True)), InferenceRequested)


async def test_a_refusal_is_told_under_one_id_however_often_its_request_is_published(world: World) -> None:
    first = message(b"Hello", idempotency_key="k")
    second = message(b"Something else", idempotency_key="k", message_id="m2")
    said, error = await world.refuses(first)
    assert hashed_id((request_id(first), "0", COMPLETED)) == said.attributes["ce-id"]
    assert (said, error) == await world.refuses(first, time=NOON + timedelta(seconds=5))
    assert (said, error) == await world.refuses(second, time=NOON + timedelta(seconds=9))


ENVELOPE = {"url": "/v1/chat/completions", "body": CHAT, "answer": "topic"}


async def test_an_envelope_that_asks_for_its_answer_on_a_topic_is_stored_so(world: World) -> None:
    await world.hear(message(ENVELOPE))
    assert "topic" == (await world.document(request_id(message()))).answer_to


@pytest.mark.parametrize("changed", [{"lane": "express"}, {"body": {}}, {"colour": "red"}, {"url": 5}])
async def test_a_refused_envelope_that_asked_hears_on_its_topic_too(
    world: World, changed: dict[str, Any]
) -> None:
    said = await handle(heard(message(ENVELOPE | changed)), world.ports())
    document = await world.document(request_id(message()))
    assert ("failed", "topic", tuple(said)) == (document.state, document.answer_to, document.owed)
    assert ["inference-completed-v1", "answer-due-v1"] == [one.topic for one in document.owed]
    assert list(said) == list(await handle(heard(message(ENVELOPE | changed)), world.ports()))


async def test_one_who_asked_by_a_revoked_topic_hears_of_that_on_it(world: World) -> None:
    await world.keys.revoke("ingest-acme", NOON)
    said = await handle(heard(message(ENVELOPE)), world.ports())
    assert ["inference-completed-v1", "answer-due-v1"] == [one.topic for one in said if isinstance(one, Owed)]


@pytest.mark.parametrize("changed", [{"answer": "webhook"}, {"answer": 5}, {"messages": []}])
async def test_a_refused_envelope_that_did_not_ask_rightly_is_told_once(
    world: World, changed: dict[str, Any]
) -> None:
    await world.refuses(message(ENVELOPE | {"lane": "express"} | changed))


async def test_a_refusal_that_was_told_is_not_told_again(world: World) -> None:
    await world.refuses(message(b"Hello"))
    stored = await world.requests.get(request_id(message()))
    assert stored is not None
    await world.requests.replace(replace(stored.document, owed=()), stored.version)
    assert [] == list(await handle(heard(message(b"Hello")), world.ports()))


async def test_a_refusal_stores_nothing_of_the_body_in_the_clear_and_little_of_it_at_all(
    world: World,
) -> None:
    secret = "secret" * 100_000
    await world.refuses(message(CHAT | {"model": secret}))
    document = await world.document(request_id(message()))
    assert document.answer is not None
    why = await world.bodies.get(document.answer.body_id)
    assert why is not None
    assert b"secret" not in msgspec.json.encode(document)
    assert b"secret" in why
    assert len(why) < 2_000


@pytest.mark.parametrize("at", [NOON + timedelta(days=1), NOON + timedelta(days=2)])
async def test_a_revoked_ingest_topic_runs_nothing_and_says_so(world: World, at: datetime) -> None:
    await world.keys.revoke("ingest-acme", NOON + timedelta(days=1))
    owed, error = await world.refuses(message(), time=at)
    assert "ingest_revoked" == error["code"]
    assert b'"status_code":403' in owed.data


async def test_an_ingest_topic_without_a_key_takes_nothing(world: World) -> None:
    with pytest.raises(Invalid, match="other"):
        await world.hear(message(tenant="other"))


async def test_another_event_is_not_for_this_function(world: World) -> None:
    with pytest.raises(Invalid, match=r"penstock\.job\.due\.v1"):
        await world.hear(JobDue(job="settle-usage", slot=NOON))


class FullDisk:
    async def put(self, body_id: str, sealed: bytes, expire_at: datetime) -> None:
        raise Unavailable("The disk is full.")


async def test_no_document_is_stored_before_its_body_is(world: World) -> None:
    for body in (CHAT, b"Hello"):
        with pytest.raises(Unavailable):
            await handle(heard(message(body)), dataclasses.replace(world.ports(), bodies=FullDisk()))
        assert await world.requests.get(request_id(message())) is None
