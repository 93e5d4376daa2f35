from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from events.words import Invalid, Unavailable
from services.adapters.firestore.bodies import LARGEST, FirestoreBodies
from services.adapters.firestore.database import Patience
from services.adapters.firestore.documents import PIECE, Query, Stored, delete
from services.adapters.firestore.indexes import BODIES, CHUNKS
from tests.cloud.firestore.faults import GONE, Faults
from tests.cloud.firestore.opening import watched_database
from tests.contracts.adapters import START, Clock

pytestmark = pytest.mark.anyio

ONCE = Patience(attempt_s=30.0, total_s=60.0, tries=1)
SOON = START + timedelta(seconds=10)
LATER = START + timedelta(seconds=20)
LARGE = bytes(range(256)) * 8_000  # of three chunks


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def database(faults: Faults) -> AsyncIterator[Any]:
    async with watched_database(faults.around, patience=ONCE) as (opened, _):
        yield opened


@pytest.fixture
def bodies(database: Any, clock: Clock) -> FirestoreBodies:
    return FirestoreBodies(database, clock)


async def chunks_of(database: Any, body_id: str) -> list[Stored]:
    return await database.find(Query(collection=CHUNKS, under=f"{BODIES}/{body_id}", fields=()))


async def documents(database: Any) -> tuple[int, int]:
    """How many bodies and chunks there are of "a" and "b"."""
    bodies = await database.find(Query(collection=BODIES, fields=()))
    return len(bodies), len([*await chunks_of(database, "a"), *await chunks_of(database, "b")])


@pytest.mark.parametrize(("size", "chunks"), [(PIECE, 0), (PIECE + 1, 2), (2 * PIECE, 2), (LARGEST, 8)])
async def test_a_body_is_one_document_while_that_takes_it(
    bodies: FirestoreBodies, database: Any, size: int, chunks: int
) -> None:
    sealed = (b"%07d" % size) * (size // 7 + 1)
    await bodies.put("a", sealed[:size], SOON)

    assert await bodies.get("a") == sealed[:size]
    assert await documents(database) == (1, chunks)


async def test_a_body_that_is_too_large_is_refused_with_the_limit(bodies: FirestoreBodies) -> None:
    with pytest.raises(Invalid, match=str(LARGEST)):
        await bodies.put("a", bytes(LARGEST + 1), SOON)
    assert await bodies.get("a") is None


@pytest.mark.parametrize("written", range(4))
async def test_a_body_that_is_written_in_part_does_not_exist_and_is_swept(
    bodies: FirestoreBodies, database: Any, faults: Faults, written: int
) -> None:
    faults.lose(*[None] * written, *[GONE] * max(1, 3 - written))
    with pytest.raises(Unavailable):
        await bodies.put("a", LARGE, SOON)
    assert await bodies.get("a") is None
    left = await documents(database)

    assert await bodies.forget(SOON, limit=10) == 0
    assert left == (0, written)
    assert await documents(database) == (0, 0)


async def test_a_body_put_again_is_the_old_or_the_new_one(
    bodies: FirestoreBodies, faults: Faults, clock: Clock
) -> None:
    await bodies.put("a", LARGE, SOON)
    faults.lose(None, GONE)
    with pytest.raises(Unavailable):
        await bodies.put("a", LARGE[::-1], LATER)
    assert await bodies.get("a") == LARGE

    await bodies.put("a", b"small", LATER)
    assert await bodies.get("a") == b"small"
    await bodies.put("a", LARGE[::-1], LATER)
    await bodies.forget(clock.forward(15), limit=10)
    assert await bodies.get("a") == LARGE[::-1]


async def test_deleting_takes_every_chunk_along_also_of_a_put_that_broke_off(
    bodies: FirestoreBodies, database: Any, faults: Faults
) -> None:
    await bodies.put("a", LARGE, SOON)
    await bodies.put("a", LARGE, SOON)
    await bodies.put("b", LARGE, SOON)
    faults.lose(None, None, GONE)
    with pytest.raises(Unavailable):
        await bodies.put("a", LARGE, SOON)
    await bodies.delete(["a"])

    assert await documents(database) == (1, 3)
    assert await bodies.get("b") == LARGE


async def test_forgetting_takes_every_chunk_along(bodies: FirestoreBodies, database: Any) -> None:
    await bodies.put("a", LARGE, SOON)
    await bodies.put("b", LARGE, LATER)

    assert await bodies.forget(SOON, limit=1) == 1
    assert await documents(database) == (1, 3)
    assert await bodies.get("b") == LARGE


async def test_a_body_whose_chunks_vanished_is_unavailable_not_cut_short(
    bodies: FirestoreBodies, database: Any
) -> None:
    await bodies.put("a", LARGE, SOON)
    gone, *_ = await chunks_of(database, "a")
    await database.commit([delete(gone.path)])

    with pytest.raises(Unavailable, match="chunks"):
        await bodies.get("a")
