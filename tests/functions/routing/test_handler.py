from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from events.catalog import KNOWN
from events.config import Backend, Config, Model, Needs
from events.envelope import Event, decode, wrap
from events.inference import InferenceCompleted, InferenceRequested, InferenceRouted
from events.jobs import JobDue
from events.requests import Owed, RequestDocument, State
from events.words import Conflict, Invalid, Switch, Tenant, hashed_id
from functions.routing.handler import Ports, handle
from services.adapters.memory.keys import MemoryKeys
from services.adapters.memory.requests import MemoryRequests

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONFIG = Config(
    backends={"pool": Backend(replicas=("http://engine:8000",))}, models={"gemma": Model(backend="pool")}
)
ASKED = InferenceRequested(request_id="req_1", tenant="acme", model="gemma", lane="batch")
ACCEPTED = RequestDocument(
    id="req_1",
    tenant="acme",
    key_id="key_1",
    url="/v1/chat/completions",
    model="gemma",
    lane="batch",
    state="accepted",
    created_at=NOON,
    deadline_at=NOON + timedelta(seconds=60),
    expire_at=NOON + timedelta(days=1),
    body_id="req_1-prompt",
)
BELL = InferenceRouted(
    request_id="req_1",
    tenant="acme",
    model="gemma",
    backend="pool",
    lane="batch",
    deadline_at=ACCEPTED.deadline_at,
)
FAILED = InferenceCompleted(request_id="req_1", tenant="acme", status="failed", attempts=0, model="gone")


@pytest.fixture
def requests() -> MemoryRequests:
    return MemoryRequests(lambda: NOON)


async def route(
    requests: MemoryRequests, event: Event = ASKED, *, id: str = "1", time: datetime = NOON
) -> Sequence[Event | Owed]:
    ports = Ports(requests=requests, tenants=MemoryKeys(), config=lambda: CONFIG, keep_s=100)
    return await handle(wrap(event, id=id, source="/functions/request", time=time), ports)


async def stored(requests: MemoryRequests) -> RequestDocument:
    found = await requests.get("req_1")
    assert found is not None
    return found.document


async def test_an_accepted_request_gets_its_backend_and_the_bell_rings(requests: MemoryRequests) -> None:
    await requests.create(ACCEPTED)
    assert [BELL] == await route(requests)
    assert replace(ACCEPTED, state="routed", backend="pool") == await stored(requests)


async def test_a_request_whose_model_is_gone_fails_and_says_why(requests: MemoryRequests) -> None:
    await requests.create(replace(ACCEPTED, model="gone"))
    (said,) = await route(requests)
    assert isinstance(said, Owed)
    assert FAILED == decode(said.attributes, said.data, KNOWN).event
    assert "/functions/routing" == said.attributes["ce-source"]
    document = await stored(requests)
    assert ("failed", NOON + timedelta(seconds=100)) == (document.state, document.expire_at)
    assert (said,) == document.owed
    assert document.problem is not None
    assert "model_not_found" == document.problem.code


async def test_a_failure_owes_the_answer_where_it_was_asked_for_on_a_topic(requests: MemoryRequests) -> None:
    await requests.create(replace(ACCEPTED, model="gone", answer_to="topic"))
    said = await route(requests)
    assert tuple(said) == (await stored(requests)).owed
    assert ["inference-completed-v1", "answer-due-v1"] == [one.topic for one in said if isinstance(one, Owed)]


@pytest.mark.parametrize("model", ["gemma", "gone"])
async def test_asked_again_it_says_the_same_and_writes_nothing(requests: MemoryRequests, model: str) -> None:
    await requests.create(replace(ACCEPTED, model=model))
    said = await route(requests)
    before = await requests.get("req_1")
    assert said == await route(requests)
    assert before == await requests.get("req_1")


async def test_a_failure_is_told_under_one_id_however_often_the_request_is_announced(
    requests: MemoryRequests,
) -> None:
    await requests.create(replace(ACCEPTED, model="gone"))
    (said,) = await route(requests)
    assert isinstance(said, Owed)
    assert hashed_id(("req_1", "0", "penstock.inference.completed.v1")) == said.attributes["ce-id"]
    assert [said] == list(await route(requests, id="2", time=NOON + timedelta(seconds=300)))


async def test_a_failure_that_was_told_is_not_told_again(requests: MemoryRequests) -> None:
    await requests.create(replace(ACCEPTED, state="failed"))
    assert [] == list(await route(requests))


async def test_a_decision_stands_although_the_configuration_changed(requests: MemoryRequests) -> None:
    await requests.create(replace(ACCEPTED, state="routed", backend="older"))
    assert [replace(BELL, backend="older")] == await route(requests)


@pytest.mark.parametrize("state", sorted(set(get_args(State)) - {"accepted", "failed"}))
async def test_what_went_on_is_left_as_it_is(requests: MemoryRequests, state: State) -> None:
    document = replace(ACCEPTED, state=state, backend=None)
    await requests.create(document)
    assert [] == list(await route(requests))
    assert document == await stored(requests)


async def test_a_forgotten_request_needs_no_route(requests: MemoryRequests) -> None:
    assert [] == list(await route(requests))


async def test_another_event_is_not_for_this_function(requests: MemoryRequests) -> None:
    with pytest.raises(Invalid, match=r"penstock\.job\.due\.v1"):
        await route(requests, JobDue(job="settle-usage", slot=NOON))


# --- hosted backends, aliases and needs

MIXED = Config(
    backends={"pool": Backend(replicas=("http://engine:8000",)), "far": Backend(url="https://far/v1")},
    models={
        "gemma": Model(backend="pool", vision=False),
        "distant": Model(backend="far"),
        "either": Model(backend="far", fallback=("gemma",)),
    },
    aliases={"small": "gemma"},
)


async def decided(requests: MemoryRequests, may_leave: Switch, **fields: Any) -> RequestDocument:
    keys = MemoryKeys()
    await keys.add_tenant(Tenant(id="acme", name="", created_at=NOON, may_leave=may_leave))
    await requests.create(replace(ACCEPTED, **fields))
    ports = Ports(requests=requests, tenants=keys, config=lambda: MIXED, keep_s=100)
    await handle(wrap(ASKED, id="1", source="/functions/request", time=NOON), ports)
    return await stored(requests)


async def test_an_alias_becomes_the_model_that_answers(requests: MemoryRequests) -> None:
    document = await decided(requests, "off", model="small")
    assert ("routed", "gemma", "pool") == (document.state, document.model, document.backend)


@pytest.mark.parametrize(
    ("may_leave", "model", "backend"),
    [("on", "distant", "far"), ("on", "either", "far"), ("off", "either", "pool")],
)
async def test_a_request_leaves_only_where_its_tenant_lets_it(
    requests: MemoryRequests, may_leave: Switch, model: str, backend: str
) -> None:
    document = await decided(requests, may_leave, model=model)
    assert ("routed", backend) == (document.state, document.backend)


async def test_a_request_that_may_not_leave_fails_and_says_why(requests: MemoryRequests) -> None:
    document = await decided(requests, "off", model="distant")
    assert ("failed", "hosted_not_allowed") == (document.state, document.problem and document.problem.code)


async def test_what_was_needed_is_remembered(requests: MemoryRequests) -> None:
    document = await decided(requests, "off", model="small", needs=Needs(vision=True))
    assert ("failed", "unsupported_by_model") == (document.state, document.problem and document.problem.code)


class CancelledMeanwhile(MemoryRequests):
    """Somebody cancels every request between its reading and its writing."""

    async def replace(self, document: RequestDocument, version: int) -> int:
        await super().replace(replace(ACCEPTED, state="cancelled"), version)
        return await super().replace(document, version)


async def test_a_change_by_somebody_else_is_never_overwritten() -> None:
    requests = CancelledMeanwhile(lambda: NOON)
    await requests.create(ACCEPTED)
    with pytest.raises(Conflict):
        await route(requests)
    assert "cancelled" == (await stored(requests)).state
