"""Firestore slow, gone or refusing: a call ends in its time, in an error that the edge can act on."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from time import monotonic
from typing import Any

import pytest
from google.api_core import exceptions as errors

from events.words import Conflict, Invalid, Unavailable
from services.adapters.firestore.database import Database, Patience, close, connect
from services.adapters.firestore.documents import Query, create, put
from services.adapters.firestore.requests import FirestoreRequests
from tests.cloud import emulators
from tests.cloud.firestore.faults import BUSY, GONE, Faults
from tests.cloud.firestore.opening import watched_database
from tests.contracts.adapters import Clock
from tests.contracts.test_requests import document

pytestmark = pytest.mark.anyio

SHORT = Patience(attempt_s=0.4, total_s=1.0)
PATH = "ring/a"
FIELDS = {"name": "a"}

CALLS = {
    "get": lambda database: database.get(PATH),
    "find": lambda database: database.find(Query(collection="ring")),
    "commit": lambda database: database.commit([put(PATH, FIELDS)]),
    "each": lambda database: database.each([put(PATH, FIELDS)]),
}
EVERY_CALL = pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))


@pytest.fixture
def emulator() -> Iterator[emulators.Emulator]:
    """One of its own: others share theirs."""
    started = emulators.start(emulators.FIRESTORE)
    yield started
    started.end()


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
async def unreachable(nobody: str) -> AsyncIterator[Database]:
    api = connect(nobody)
    yield Database.on_emulator(api, "test-nowhere")
    await close(api)


@EVERY_CALL
async def test_nobody_there_is_unavailable_at_once(unreachable: Database, call: Any) -> None:
    began = monotonic()
    with pytest.raises(Unavailable, match="Firestore"):
        await call(unreachable)
    assert monotonic() - began < 10.0


async def test_a_server_that_stalls_is_unavailable_in_time_and_found_again_when_it_goes_on(
    emulator: emulators.Emulator,
) -> None:
    api, project = connect(emulator.address), emulators.fresh_project()
    patient = Database.on_emulator(api, project, patience=Patience(attempt_s=30.0, total_s=60.0))
    hurried = Database.on_emulator(api, project, patience=SHORT)
    try:
        created = await FirestoreRequests(patient, Clock()).create(document())
        with emulator.paused():
            for call in CALLS.values():
                began = monotonic()
                with pytest.raises(Unavailable):
                    await call(hurried)
                assert monotonic() - began < 10.0
            with pytest.raises(Unavailable):
                await FirestoreRequests(hurried, Clock()).replace(document(attempts=1), created.version)
        # The write may have waited in the connection. Whether it took place, the chain tells.
        found = await FirestoreRequests(patient, Clock()).get("r1")
        assert found is not None
        assert (found.version > created.version) == (found.document.attempts == 1)
        assert await FirestoreRequests(patient, Clock()).replace(document(attempts=2), found.version)
    finally:
        await close(api)


async def test_a_call_in_flight_outlives_a_short_stall(emulator: emulators.Emulator) -> None:
    api = connect(emulator.address)
    database = Database.on_emulator(
        api, emulators.fresh_project(), patience=Patience(attempt_s=30.0, total_s=60.0)
    )
    try:
        await database.commit([put(PATH, FIELDS)])
        with emulator.paused():
            call = asyncio.create_task(database.get(PATH))
            await asyncio.sleep(0.3)
            assert not call.done()
        assert (await call) is not None
    finally:
        await close(api)


@pytest.mark.parametrize(
    "error", [BUSY, GONE, errors.ResourceExhausted("quota"), errors.InternalServerError("?")]
)
async def test_what_passes_is_tried_again_a_few_times(error: Exception) -> None:
    faults = Faults(lost=(error,) * 4)
    async with watched_database(faults.around) as (database, _):
        await database.commit([put(PATH, FIELDS)])
        faults.lose(*[error] * 5)
        with pytest.raises(Unavailable):
            await database.commit([put(PATH, FIELDS)])
        assert await database.commit([put(PATH, FIELDS)])


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.PermissionDenied("not you"), Unavailable),
        (errors.Unauthenticated("who?"), Unavailable),
        (errors.InvalidArgument("too large"), Invalid),
        (errors.AlreadyExists("taken"), Conflict),
        (errors.FailedPrecondition("changed"), Conflict),
        (errors.NotFound("gone"), Conflict),
    ],
)
async def test_what_does_not_pass_is_told_at_once(error: Exception, kind: type[Exception]) -> None:
    faults = Faults(lost=(error,))
    async with watched_database(faults.around) as (database, watched):
        with pytest.raises(kind, match=getattr(error, "message", "")):
            await database.commit([create(PATH, FIELDS)])
        assert watched.costs.calls == 0
