import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from events.requests import Answer, Claim, Owed, RequestDocument, State, Versioned
from events.words import Conflict, Problem, Unavailable
from services.adapters.memory.requests import MemoryRequests
from tests.contracts.adapters import REQUESTS, START, Clock, Opener, Requests
from tests.support.examples import at_most

pytestmark = pytest.mark.anyio

OWED = (Owed(topic="inference-completed-v1", attributes={"ce-id": "1"}, data=b"\x00{}"),)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def document(id: str = "r1", /, **fields: object) -> RequestDocument:
    """A routed request that is to begin within 100 s and is forgotten after 200."""
    made = RequestDocument(
        id=id,
        tenant="acme",
        key_id="k1",
        url="/v1/chat/completions",
        model="gemma",
        lane="interactive",
        state="routed",
        created_at=START,
        deadline_at=at(100),
        expire_at=at(200),
        body_id=f"{id}-prompt",
    )
    return replace(made, **fields)


def claimed(until_s: float) -> dict[str, object]:
    return {"state": "running", "claim": Claim(owner="d1", lease_until=at(until_s))}


def ids(found: Sequence[Versioned]) -> list[str]:
    return [versioned.document.id for versioned in found]


async def create(requests: Requests, *documents: RequestDocument) -> None:
    for made in documents:
        await requests.create(made)


async def test_a_document_comes_back_as_it_was_created(requests: Requests) -> None:
    full = document(
        backend="pool",
        attempts=2,
        not_before=at(1),
        claim=Claim(owner="d1", lease_until=at(2)),
        answer=Answer(status_code=200, body_id="b"),
        problem=Problem(message="slow"),
        custom_id="c",
        answer_to="topic",
        traceparent="00-1",
        owed=OWED,
    )
    created = await requests.create(full)

    assert created.document == full
    assert await requests.get("r1") == created
    assert await requests.get("r2") is None


async def test_creating_again_returns_what_is_stored_unchanged(requests: Requests) -> None:
    await requests.create(document())
    version = await requests.replace(document(attempts=1), 1)
    again = await requests.create(document(state="accepted"))

    assert again == Versioned(document=document(attempts=1), version=version)
    assert await requests.get("r1") == again


async def test_a_write_on_the_version_read_succeeds_once(requests: Requests) -> None:
    created = await requests.create(document())
    version = await requests.replace(document(attempts=1), created.version)

    assert version > created.version
    with pytest.raises(Conflict, match="r1"):
        await requests.replace(document(attempts=2), created.version)
    assert await requests.get("r1") == Versioned(document=document(attempts=1), version=version)


async def test_a_document_that_is_not_there_cannot_be_replaced(requests: Requests) -> None:
    with pytest.raises(Conflict, match="r1"):
        await requests.replace(document(), 1)
    assert await requests.get("r1") is None


async def test_a_document_cannot_be_got_from_the_moment_it_expires(requests: Requests, clock: Clock) -> None:
    await requests.create(document())

    clock.forward(199.999999)
    assert await requests.get("r1") is not None
    clock.forward(0.000001)
    assert await requests.get("r1") is None


async def test_a_new_document_takes_the_place_of_an_expired_one_whose_writers_lost(
    requests: Requests, clock: Clock
) -> None:
    old = await requests.create(document())
    clock.forward(200)
    fresh = document(deadline_at=at(300), expire_at=at(400))
    created = await requests.create(fresh)

    assert await requests.get("r1") == created
    assert created.document == fresh
    with pytest.raises(Conflict):
        await requests.replace(document(attempts=1), old.version)


async def test_waiting_requests_come_by_deadline_then_by_creation(requests: Requests) -> None:
    await create(
        requests,
        document("late", deadline_at=at(50)),
        document("younger", deadline_at=at(40), created_at=at(2)),
        document("older", deadline_at=at(40), created_at=at(1)),
    )

    assert ids(await requests.waiting("acme", "interactive", START, 10)) == ["older", "younger", "late"]
    assert ids(await requests.waiting("acme", "interactive", START, 2)) == ["older", "younger"]


NOT_CLAIMABLE: list[dict[str, object]] = [
    {"state": "accepted"},
    {"state": "completed"},
    claimed(until_s=60),
    {"not_before": at(10.000001)},
    {"deadline_at": at(10)},
]


@pytest.mark.parametrize("fields", NOT_CLAIMABLE, ids=str)
async def test_what_cannot_be_claimed_does_not_wait(requests: Requests, fields: dict[str, object]) -> None:
    await create(requests, document(**fields))

    assert await requests.waiting("acme", "interactive", at(10), 10) == []
    assert await requests.waiting_tenants(at(10)) == []


async def test_a_pause_is_over_at_its_end(requests: Requests) -> None:
    await create(requests, document(not_before=at(10)))

    assert ids(await requests.waiting("acme", "interactive", at(10), 10)) == ["r1"]
    assert await requests.waiting_tenants(at(10)) == [("acme", "interactive")]


async def test_tenants_and_lanes_that_wait_are_each_named_once(requests: Requests) -> None:
    await create(
        requests,
        document("a", tenant="zeta"),
        document("b", lane="batch"),
        document("c"),
        document("d"),
        document("e", tenant="idle", state="accepted"),
        document("f", tenant="mid", not_before=at(50)),
    )

    assert await requests.waiting_tenants(START) == [
        ("acme", "batch"),
        ("acme", "interactive"),
        ("zeta", "interactive"),
    ]
    assert ids(await requests.waiting("acme", "batch", START, 10)) == ["b"]
    assert ids(await requests.waiting("zeta", "interactive", START, 10)) == ["a"]


async def test_overdue_requests_were_never_begun_and_their_deadline_passed(requests: Requests) -> None:
    await create(
        requests,
        document("b", deadline_at=at(20)),
        document("a", deadline_at=at(10), state="accepted"),
        document("c", deadline_at=at(20.000001)),
        document("d", deadline_at=at(10), **claimed(until_s=60)),
        document("e", deadline_at=at(10), state="expired"),
    )

    assert ids(await requests.overdue(at(20), 10)) == ["a", "b"]
    assert ids(await requests.overdue(at(20), 1)) == ["a"]


async def test_lost_requests_run_under_a_lease_that_ended_or_under_none(requests: Requests) -> None:
    await create(
        requests,
        document("b", **claimed(until_s=10)),
        document("a", **claimed(until_s=5)),
        document("c", **claimed(until_s=20)),
        document("d", state="running"),
        document("e"),
    )

    assert ids(await requests.lost(at(20), 10)) == ["d", "a", "b"]
    assert ids(await requests.lost(at(20), 1)) == ["d"]
    assert ids(await requests.running(10)) == ["d", "a", "b", "c"]
    assert ids(await requests.running(2)) == ["d", "a"]


async def test_stale_requests_were_accepted_before_and_never_routed(requests: Requests) -> None:
    await create(
        requests,
        document("b", state="accepted", created_at=at(2)),
        document("a", state="accepted", created_at=at(1)),
        document("c", state="accepted", created_at=at(3)),
        document("d", created_at=at(1)),
    )

    assert ids(await requests.stale(at(3), 10)) == ["a", "b"]
    assert ids(await requests.stale(at(3), 1)) == ["a"]


async def test_documents_that_owe_events_come_by_when_they_were_written(
    requests: Requests, clock: Clock
) -> None:
    await create(requests, document("a", owed=OWED), document("b", owed=OWED), document("c"))
    clock.forward(1)
    await requests.replace(document("a", owed=OWED, attempts=1), 1)
    clock.forward(1)
    await create(requests, document("d", owed=OWED, state="completed"))

    assert ids(await requests.owing(at(2), 10)) == ["b", "a"]
    assert ids(await requests.owing(at(2), 1)) == ["b"]
    await requests.replace(document("b"), 1)
    assert ids(await requests.owing(at(10), 10)) == ["a", "d"]


async def test_forgetting_deletes_a_few_of_those_that_ended_and_expired(requests: Requests) -> None:
    await create(
        requests,
        document("b", state="completed", expire_at=at(20)),
        document("a", state="failed", expire_at=at(10)),
        document("c", state="cancelled", expire_at=at(30)),
    )

    assert await requests.forget(at(9), 10) == []
    assert await requests.forget(at(20), 1) == ["a"]
    assert await requests.forget(at(20), 10) == ["b"]
    assert await requests.get("b") is None
    assert await requests.get("c") is not None


UNFINISHED: list[dict[str, object]] = [
    {"state": "accepted"},
    {"state": "routed"},
    claimed(until_s=60),
    {"state": "completed", "owed": OWED},
]


@pytest.mark.parametrize("fields", UNFINISHED, ids=str)
async def test_a_request_is_not_forgotten_before_its_end_was_told(
    requests: Requests, clock: Clock, fields: dict[str, object]
) -> None:
    created = await requests.create(document(**fields))
    now = clock.forward(1_000)

    assert await requests.forget(now, 10) == []
    await requests.replace(document(state="expired", expire_at=at(2_000)), created.version)
    found = await requests.get("r1")
    assert found is not None
    assert found.document.state == "expired"


async def spoil_a_row(requests: Any, name: str) -> None:
    def job(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE requests SET body = x'7b' WHERE id = ?", (name,))

    await requests._database.write(job)


async def spoil_a_document(requests: Any, name: str) -> None:
    from services.adapters.firestore.documents import amend  # noqa: PLC0415

    await requests._database.commit([amend(f"requests/{name}", {"body": b"{"})])


SPOILS: dict[str, Callable[[Any, str], Awaitable[None]]] = {
    "sqlite": spoil_a_row,
    "firestore": spoil_a_document,
}


@pytest.mark.parametrize("adapter", SPOILS)
async def test_a_document_that_does_not_decode_hides_no_other(
    adapter: str, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with REQUESTS[adapter](tmp_path, clock) as requests:
        names = [f"r{number}" for number in range(6)]
        await create(requests, *(document(name, deadline_at=at(60 + n)) for n, name in enumerate(names)))
        for name in names[:3]:
            await SPOILS[adapter](requests, name)

        assert ids(await requests.waiting("acme", "interactive", START, 2)) == ["r3", "r4"]
        assert ids(await requests.overdue(at(99), 9)) == ["r3", "r4", "r5"]
        assert ids(await requests.waiting("acme", "interactive", START, 1)) == ["r3"]
        with pytest.raises(Unavailable, match="r0"):
            await requests.get("r0")
        told = [record.message for record in caplog.records if "cannot be read" in record.message]
        assert 3 == len(told) == requests.unreadable
        assert all(sum(name in line for line in told) == 1 for name in names[:3])


STATES: list[State] = ["accepted", "routed", "running", "completed", "failed", "cancelled", "expired"]
SECONDS = st.integers(0, 20)
TIMES = SECONDS.map(at)
DOCUMENTS = st.builds(
    document,
    st.sampled_from("abcdef"),
    tenant=st.sampled_from(["acme", "zeta", "mid"]),
    lane=st.sampled_from(["interactive", "batch"]),
    state=st.sampled_from(STATES),
    created_at=TIMES,
    deadline_at=TIMES,
    expire_at=TIMES,
    not_before=st.none() | TIMES,
    claim=st.none() | st.builds(Claim, owner=st.just("d1"), lease_until=TIMES),
    owed=st.sampled_from([(), OWED]),
)
STEPS = st.lists(st.tuples(st.sampled_from(["create", "replace", "forget"]), DOCUMENTS, SECONDS), max_size=15)


async def take(requests: Requests, what: str, made: RequestDocument, version: int, now: datetime) -> object:
    try:
        match what:
            case "create":
                return await requests.create(made)
            case "replace":
                return await requests.replace(made, version)
            case _:
                return sorted(await requests.forget(now, 10))
    except Conflict:
        return Conflict


async def answers(requests: Requests, now: datetime) -> list[object]:
    lists = [
        await requests.waiting("acme", "interactive", now, 10),
        await requests.overdue(now, 10),
        await requests.lost(now, 10),
        await requests.running(10),
        await requests.stale(now, 10),
        await requests.owing(now, 10),
    ]
    by_id = [sorted(found, key=lambda versioned: versioned.document.id) for found in lists]
    return [*by_id, await requests.waiting_tenants(now), [await requests.get(name) for name in "abcdef"]]


@pytest.mark.parametrize("open_requests", REQUESTS.values(), ids=list(REQUESTS))
@at_most(30)
@given(steps=STEPS)
async def test_every_adapter_answers_as_the_one_in_memory(
    open_requests: Opener[Requests], steps: list[tuple[str, RequestDocument, int]]
) -> None:
    clock = Clock()
    model = MemoryRequests(clock)
    with TemporaryDirectory() as folder:
        async with open_requests(Path(folder), clock) as requests:
            for what, made, seconds in steps:
                clock.time = max(clock.time, at(seconds))
                version = 1 + seconds % 2
                expected = await take(model, what, made, version, clock())
                assert await take(requests, what, made, version, clock()) == expected
                assert await answers(requests, at(10)) == await answers(model, at(10))
