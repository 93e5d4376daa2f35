"""The same handlers stopped at the same steps, with every store in Firestore."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count

import pytest

from services.adapters.firestore.advice import FirestoreAdvice
from services.adapters.firestore.bodies import FirestoreBodies
from services.adapters.firestore.keys import FirestoreKeys
from services.adapters.firestore.ledger import FirestoreUsageLedger
from services.adapters.firestore.requests import FirestoreRequests
from tests.cloud.firestore.opening import watched_database
from tests.contracts.crashing import Handled, Life, World
from tests.contracts.test_crash_at_every_step import HANDLED, WHEN, make, mended, stopped, undisturbed

__all__ = ["make"]  # the fixture

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Make = Callable[[], Awaitable[World]]


@pytest.fixture
async def in_firestore(make: Make) -> AsyncIterator[Make]:
    async with AsyncExitStack() as opened:

        async def made() -> World:
            world = await make()
            database, _ = await opened.enter_async_context(watched_database())
            return dataclasses.replace(
                world,
                requests=FirestoreRequests(database, world.clock),
                bodies=FirestoreBodies(database, world.clock),
                keys=FirestoreKeys(database),
                ledger=FirestoreUsageLedger(database, world.clock),
                advice=FirestoreAdvice(database),
            )

        yield made


@WHEN
@pytest.mark.parametrize("handled", HANDLED, ids=lambda handled: handled.name)
async def test_stopping_at_any_port_call_changes_nothing(
    handled: Handled, late: bool, in_firestore: Make
) -> None:
    at_once = await undisturbed(handled, await in_firestore())
    for last in count(1):
        world, life = await in_firestore(), Life(last, late=late)
        await handled.given(world)
        if not await stopped(handled.process, world, life):
            break
        found = await mended(handled, world)
        expected = await undisturbed(handled, await in_firestore(), lost=found.attempts - at_once.attempts)
        assert expected == found, f"it stopped at call {last}, {life.last_call}"
    assert last > 1, "it called no port"
