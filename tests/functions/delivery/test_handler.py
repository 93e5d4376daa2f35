import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from events.answer import AnswerDue, AnswerReady
from events.catalog import KNOWN
from events.envelope import Event, decode, wrap
from events.jobs import JobDue
from events.requests import FINAL, Answer, Owed, RequestDocument, State
from events.words import Invalid, Problem, hashed_id
from functions.delivery.handler import Ports, handle
from functions.request.lifecycle import cancel
from services.adapters.memory.bodies import MemoryBodies
from services.adapters.memory.requests import MemoryRequests
from tests.functions.request.test_handler import ReadableSealer

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
COMPLETION = b'{"object": "chat.completion",\n "choices": []}'
DUE = AnswerDue(request_id="req_1", tenant="acme")
ENDED = RequestDocument(
    id="req_1",
    tenant="acme",
    key_id="key_1",
    url="/v1/chat/completions",
    model="gemma",
    lane="batch",
    state="completed",
    created_at=NOON,
    deadline_at=NOON + timedelta(seconds=60),
    expire_at=NOON + timedelta(days=1),
    body_id="req_1-prompt",
    attempts=2,
    answer=Answer(status_code=200, body_id="req_1.2-answer"),
    custom_id="line-1",
    answer_to="topic",
    traceparent="00-trace",
)


@dataclass
class World:
    requests: MemoryRequests = field(default_factory=lambda: MemoryRequests(lambda: NOON))
    bodies: MemoryBodies = field(default_factory=lambda: MemoryBodies(lambda: NOON))
    sealer: ReadableSealer = field(default_factory=ReadableSealer)

    async def holds(self, document: RequestDocument, answer: bytes = COMPLETION) -> None:
        await self.requests.create(document)
        if document.answer is not None:
            name = document.answer.body_id
            sealed = await self.sealer.seal(document.tenant, "answer", name, answer)
            await self.bodies.put(name, sealed, document.expire_at)

    async def hear(self, event: Event = DUE, *, id: str = "1", most_bytes: int = 10_000) -> Sequence[Owed]:
        ports = Ports(requests=self.requests, bodies=self.bodies, sealer=self.sealer, most_bytes=most_bytes)
        return await handle(wrap(event, id=id, source="/dispatcher", time=NOON), ports)


@pytest.fixture
def world() -> World:
    return World()


def read(said: Sequence[Owed]) -> Any:
    """The body of the one message there is."""
    (message,) = said
    assert isinstance(decode(message.attributes, message.data, KNOWN).event, AnswerReady)
    return json.loads(message.data)


async def test_an_answer_goes_to_its_tenants_topic_as_a_caller_reads_it(world: World) -> None:
    await world.holds(ENDED)
    (message,) = await world.hear()

    assert "answers-acme" == message.topic
    assert {
        "id": "req_1",
        "object": "request",
        "status": "completed",
        "created_at": 1767268800,
        "expires_at": 1767355200,
        "model": "gemma",
        "lane": "batch",
        "response": {"status_code": 200, "body": json.loads(COMPLETION)},
        "error": None,
        "custom_id": "line-1",
    } == read([message])
    assert COMPLETION in message.data  # byte for byte, as over HTTP
    assert {
        "ce-specversion": "1.0",
        "ce-id": hashed_id(("req_1", "2", "penstock.answer.ready.v1")),
        "ce-type": "penstock.answer.ready.v1",
        "ce-source": "/functions/delivery",
        "ce-subject": "req_1",
        "ce-time": "2026-01-01T12:00:00.000000Z",
        "content-type": "application/json",
        "traceparent": "00-trace",
    } == message.attributes


async def test_the_same_answer_is_told_in_the_same_words_however_often_it_is_due(world: World) -> None:
    await world.holds(ENDED)
    assert await world.hear() == await world.hear(id="another message")


async def test_what_the_engine_said_of_a_failure_is_its_error(world: World) -> None:
    error = {"message": "No.", "type": "invalid_request_error", "param": "messages", "code": None}
    answer = Answer(status_code=400, body_id="b")
    failed = replace(ENDED, state="failed", answer=answer, problem=Problem(message="Refused."))
    await world.holds(failed, json.dumps({"error": error}).encode())

    told = read(await world.hear())
    assert ("failed", None, error) == (told["status"], told["response"], told["error"])


async def test_an_end_without_an_answer_is_told_with_its_reason(world: World) -> None:
    waiting = replace(ENDED, state="routed", answer=None)
    ended = cancel(waiting, now=NOON, keep_s=100, source="/router")
    assert ended is not None
    await world.holds(ended)

    told = read(await world.hear())
    assert ("cancelled", None, "request_cancelled") == (
        told["status"],
        told["response"],
        told["error"]["code"],
    )


@pytest.mark.parametrize("state", ["completed", "failed"])
async def test_an_answer_too_large_for_a_message_says_where_it_is_read(world: World, state: State) -> None:
    error = {"message": "x" * 2_000, "type": "t", "param": None, "code": None}
    large = {"completed": {"text": "x" * 2_000}, "failed": {"error": error}}[state]
    problem = Problem(message="Refused.") if state == "failed" else None
    await world.holds(replace(ENDED, state=state, problem=problem), json.dumps(large).encode())

    told = read(await world.hear(most_bytes=1_000))
    assert (state, None, "/v1/requests/req_1") == (told["status"], told["response"], told["read_at"])
    assert (problem and "Refused.") == (told["error"] and told["error"]["message"])


async def test_an_answer_that_just_fits_is_told_whole(world: World) -> None:
    await world.holds(ENDED)
    (message,) = await world.hear()

    size = len(message.data)
    assert [message] == list(await world.hear(most_bytes=size))
    assert "read_at" in read(await world.hear(most_bytes=size - 1))


async def test_an_answer_that_is_no_longer_kept_is_told_without_it(world: World) -> None:
    await world.requests.create(ENDED)
    told = read(await world.hear())
    assert ("completed", None) == (told["status"], told["response"])


async def test_of_a_request_that_is_gone_nothing_is_said(world: World) -> None:
    assert [] == list(await world.hear())


async def test_nothing_is_told_that_nobody_asked_for(world: World) -> None:
    await world.holds(replace(ENDED, answer_to=None))
    assert [] == list(await world.hear())


@pytest.mark.parametrize("state", sorted(set(get_args(State)) - FINAL))
async def test_a_later_request_of_the_same_name_is_told_when_it_ends(world: World, state: State) -> None:
    await world.holds(replace(ENDED, state=state, answer=None))
    assert [] == list(await world.hear())


async def test_the_topic_is_that_of_the_documents_tenant_whatever_the_event_says(world: World) -> None:
    await world.holds(ENDED)
    (message,) = await world.hear(AnswerDue(request_id="req_1", tenant="mallory"))
    assert "answers-acme" == message.topic


async def test_an_answer_that_does_not_open_is_given_up_with_the_reason(world: World) -> None:
    await world.requests.create(ENDED)
    await world.bodies.put("req_1.2-answer", b"altered", ENDED.expire_at)
    with pytest.raises(Invalid, match="sealed for something else"):
        await world.hear()


async def test_another_event_is_not_for_this_function(world: World) -> None:
    with pytest.raises(Invalid, match=r"penstock\.job\.due\.v1"):
        await world.hear(JobDue(job="settle-usage", slot=NOON))
