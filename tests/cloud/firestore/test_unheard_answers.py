"""A write whose answer is lost is known for one's own when it is tried again, and counts once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from events.jobs import JobDue, JobRecord
from events.journal import Entry
from events.usage import UsageRecorded
from events.words import Conflict, Unavailable
from functions.autoscale.standing import Standing
from functions.metering.bill import increments
from functions.metering.handler import Settlement
from services.adapters.firestore.advice import FirestoreAdvice
from services.adapters.firestore.bodies import FirestoreBodies
from services.adapters.firestore.data_keys import FirestoreDataKeys
from services.adapters.firestore.database import Patience
from services.adapters.firestore.job_runs import FirestoreJobRuns
from services.adapters.firestore.journal import FirestoreJournal
from services.adapters.firestore.keyed_calls import FirestoreKeyedCalls
from services.adapters.firestore.keys import FirestoreKeys
from services.adapters.firestore.ledger import FirestoreUsageLedger
from services.adapters.firestore.requests import FirestoreRequests
from services.jobs.runs import Verdict, change, judge
from tests.cloud.firestore.faults import BUSY, GONE, LATE, Faults
from tests.cloud.firestore.opening import watched_database
from tests.contracts.adapters import START, Clock
from tests.contracts.test_keyed_calls import CALL
from tests.contracts.test_keys import ACME, KEY
from tests.contracts.test_ledger import PRODUCER, completed, page, standing_with, started
from tests.contracts.test_requests import document

pytestmark = pytest.mark.anyio

ONCE = Patience(attempt_s=30.0, total_s=60.0, tries=1)
SOON = START + timedelta(seconds=10)
UNHEARD = pytest.mark.parametrize("error", [LATE, GONE], ids=["late", "gone"])


@asynccontextmanager
async def database(faults: Faults, **given: Any) -> AsyncIterator[Any]:
    async with watched_database(faults.around, **given) as (opened, _):
        yield opened


async def append(ledger: FirestoreUsageLedger, page_id: str, content: UsageRecorded) -> bool:
    sums = increments(content.records)
    return await ledger.append(page_id, msgspec.json.encode(content), content.producer, sums)


@UNHEARD
async def test_a_replacement_tried_again_is_its_own(error: Exception) -> None:
    faults = Faults()
    async with database(faults) as opened:
        requests = FirestoreRequests(opened, Clock())
        created = await requests.create(document())
        faults.leave_unheard(error, error)
        version = await requests.replace(document(attempts=1), created.version)
        found = await requests.get("r1")

    assert found is not None
    assert (found.document.attempts, found.version) == (1, version)


async def test_a_replacement_that_came_second_is_not_taken_for_its_own() -> None:
    faults = Faults()
    async with database(faults) as opened:
        requests = FirestoreRequests(opened, Clock())
        created = await requests.create(document())
        await requests.replace(document(attempts=1), created.version)
        faults.lose(GONE)
        with pytest.raises(Conflict):
            await requests.replace(document(attempts=1), created.version)  # the very same document


async def test_a_write_that_changes_nothing_moves_the_version_all_the_same() -> None:
    async with database(Faults()) as opened:
        requests = FirestoreRequests(opened, Clock())
        created = await requests.create(document())
        version = await requests.replace(document(), created.version)
        with pytest.raises(Conflict):
            await requests.replace(document(), created.version)

    assert created.version < version


async def test_what_is_not_heard_of_in_time_is_unavailable_and_may_have_taken_place() -> None:
    faults = Faults()
    async with database(faults, patience=ONCE) as opened:
        requests = FirestoreRequests(opened, Clock())
        created = await requests.create(document())
        faults.leave_unheard(LATE)
        with pytest.raises(Unavailable):
            await requests.replace(document(attempts=1), created.version)
        found = await requests.get("r1")
        with pytest.raises(Conflict):  # whoever goes on from the version it knows finds the fence
            await requests.replace(document(attempts=2), created.version)

    assert found is not None
    assert found.document.attempts == 1


@UNHEARD
async def test_a_creation_tried_again_is_its_own_even_where_its_time_is_over(error: Exception) -> None:
    faults, clock = Faults(unheard=(error,)), Clock()
    async with database(faults) as opened:
        requests = FirestoreRequests(opened, clock)
        created = await requests.create(document(expire_at=START))
        again = await requests.create(document("r2"))

    assert created.document == document(expire_at=START)
    assert again.document == document("r2")


@UNHEARD
async def test_a_key_claimed_unheard_is_its_own(error: Exception) -> None:
    faults = Faults(unheard=(error,))
    async with database(faults) as opened:
        calls = FirestoreKeyedCalls(opened, Clock())
        created = await calls.create(CALL)
        faults.leave_unheard(error)
        version = await calls.replace(replace(CALL, state="answered"), created.version)
        found = await calls.get(CALL.id)
        faults.leave_unheard(error)
        await calls.delete(CALL.id, version)

        assert created.call == CALL
        assert found is not None
        assert (found.call.state, found.version) == ("answered", version)
        assert await calls.get(CALL.id) is None


async def test_two_that_create_at_once_in_place_of_an_expired_one_get_the_same() -> None:
    clock = Clock()
    async with database(Faults(lost=(None, BUSY, GONE))) as opened:
        requests = FirestoreRequests(opened, clock)
        await requests.create(document())
        clock.forward(200)
        fresh = document(expire_at=clock() + timedelta(seconds=100))
        first = await requests.create(fresh)
        second = await requests.create(replace(fresh, attempts=3))

    assert first.document == fresh
    assert second == first


@UNHEARD
async def test_advice_put_again_is_its_own(error: Exception) -> None:
    faults = Faults(unheard=(error, None, error))
    async with database(faults) as opened:
        advice = FirestoreAdvice(opened)
        await advice.put(Standing(backend="pool"), 0)
        _, version = await advice.standing("pool")
        await advice.put(Standing(backend="pool", schema=1), version)
        faults.lose(GONE)
        with pytest.raises(Conflict):
            await advice.put(Standing(backend="pool"), version)


@UNHEARD
async def test_a_page_counts_once_and_was_not_counted_before(error: Exception) -> None:
    faults = Faults(unheard=(error, None), lost=(BUSY,))
    async with database(faults) as opened:
        ledger = FirestoreUsageLedger(opened, Clock())
        first = await append(ledger, "p1", page(completed()))
        second = await append(ledger, "p1", page(completed()))
        (total,) = await ledger.usage()

    assert (first, second) == (True, False)
    assert (total.requests, total.usage) == (1, completed().usage)


@UNHEARD
async def test_a_settlement_counts_once(error: Exception) -> None:
    faults, rows = Faults(), page(completed())
    settlement = Settlement(
        producer=PRODUCER,
        folded=("p1",),
        standing=standing_with("b.1"),
        page_id="est",
        page=rows,
        increments=increments(rows.records),
    )
    async with database(faults) as opened:
        ledger = FirestoreUsageLedger(opened, Clock())
        await append(ledger, "p1", page(started()))
        faults.lose(BUSY)
        faults.leave_unheard(error, error)
        version = await ledger.settle(settlement, 0)
        (total,) = await ledger.usage()
        again = await ledger.settle(settlement, version)
        (still,) = await ledger.usage()

    assert (version, again) == (1, 2)
    assert total == still
    assert total.requests == 1


@UNHEARD
async def test_keys_and_tenants_are_added_once(error: Exception) -> None:
    faults = Faults(unheard=(error, error, error))
    async with database(faults) as opened:
        keys = FirestoreKeys(opened)
        await keys.add(KEY)
        with pytest.raises(Conflict):
            await keys.add(KEY)
        faults.leave_unheard(error)
        await keys.add_tenant(ACME)
        faults.leave_unheard(error)
        revoked = await keys.revoke(KEY.id, SOON)
        found = (await keys.list(), await keys.tenants(), await keys.revision())

    assert revoked == replace(KEY, revoked_at=SOON)
    assert found == ([revoked], [ACME], 3)


@UNHEARD
async def test_data_keys_and_bodies_are_the_same_when_written_twice(error: Exception) -> None:
    faults = Faults(unheard=(error, None, error, None, error))
    async with database(faults) as opened:
        data_keys, bodies = FirestoreDataKeys(opened), FirestoreBodies(opened, Clock())
        assert await data_keys.create("acme", b"key") == b"key"
        await data_keys.erase("acme")
        await bodies.put("a", b"sealed", SOON)
        found = (await data_keys.get("acme"), await bodies.get("a"))

    assert found == (None, b"sealed")


@UNHEARD
async def test_an_entry_of_a_journal_that_was_appended_unheard_has_its_place(error: Exception) -> None:
    faults = Faults(unheard=(error,))
    entry = Entry(request="r", place=0, attempt=1, first=3, next=5, expire_at=SOON, sealed=b"sealed")
    async with database(faults) as opened:
        journal = FirestoreJournal(opened, Clock())
        await journal.append(entry)
        with pytest.raises(Conflict):
            await journal.append(replace(entry, sealed=b"another"))
        found = await journal.read("r", 0, 10)

    assert found == [entry]


@UNHEARD
async def test_a_job_run_that_was_claimed_unheard_is_still_the_starts_own(error: Exception) -> None:
    due = JobDue(job="x", slot=START, previous=START - timedelta(minutes=1), until=SOON)

    async def claimed(runs: FirestoreJobRuns, event: str) -> Verdict:
        def decide(record: JobRecord) -> tuple[JobRecord, Verdict]:
            verdict = judge(record, due, event, START)
            return verdict.record, verdict

        return await change(runs, "x", decide)

    faults = Faults()
    async with database(faults) as opened:
        runs = FirestoreJobRuns(opened)
        faults.leave_unheard(error, error)
        assert "run" == (await claimed(runs, "e1")).what
        assert "taken" == (await claimed(runs, "e2")).what
