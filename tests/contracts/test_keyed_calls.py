import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from events.words import Conflict
from functions.request.idempotency import KeyedCall
from tests.contracts.adapters import START, Clock, KeyedCalls

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
CALL = KeyedCall(
    id="ab12",
    tenant="acme",
    fingerprint="cd34",
    owner="one",
    run="run_1",
    lease_until=START + timedelta(seconds=30),
    expire_at=START + DAY,
)


async def test_a_call_comes_back_as_it_was_stored(keyed_calls: KeyedCalls) -> None:
    created = await keyed_calls.create(CALL)

    assert CALL == created.call
    assert created == await keyed_calls.get(CALL.id)
    assert await keyed_calls.get("other") is None


async def test_the_first_under_a_key_stays(keyed_calls: KeyedCalls) -> None:
    first = await keyed_calls.create(CALL)
    second = await keyed_calls.create(replace(CALL, run="run_2", fingerprint="other"))

    assert first == second == await keyed_calls.get(CALL.id)


async def test_of_many_at_once_one_is_first(keyed_calls: KeyedCalls) -> None:
    calls = [replace(CALL, run=f"run_{number}") for number in range(5)]
    found = await asyncio.gather(*map(keyed_calls.create, calls))

    assert 1 == len({stored.call.run for stored in found})
    assert 1 == len({stored.version for stored in found})


async def test_every_write_moves_its_version_and_an_old_one_writes_nothing(keyed_calls: KeyedCalls) -> None:
    first = (await keyed_calls.create(CALL)).version
    second = await keyed_calls.replace(replace(CALL, state="answered"), first)

    assert first < second
    with pytest.raises(Conflict, match="ab12"):
        await keyed_calls.replace(CALL, first)
    found = await keyed_calls.get(CALL.id)
    assert found is not None
    assert ("answered", second) == (found.call.state, found.version)


async def test_the_same_written_again_is_a_write(keyed_calls: KeyedCalls) -> None:
    first = (await keyed_calls.create(CALL)).version

    assert first < await keyed_calls.replace(CALL, first)


async def test_of_many_that_take_a_call_over_one_does(keyed_calls: KeyedCalls) -> None:
    version = (await keyed_calls.create(CALL)).version
    taking = (keyed_calls.replace(replace(CALL, run=f"run_{n}"), version) for n in range(2, 7))
    ended = await asyncio.gather(*taking, return_exceptions=True)

    assert 4 == sum(isinstance(one, Conflict) for one in ended)


async def test_what_is_not_there_cannot_be_replaced(keyed_calls: KeyedCalls) -> None:
    version = (await keyed_calls.create(CALL)).version
    await keyed_calls.delete(CALL.id, version)

    with pytest.raises(Conflict):
        await keyed_calls.replace(CALL, version)


async def test_a_deleted_call_is_gone_and_its_key_free(keyed_calls: KeyedCalls) -> None:
    version = (await keyed_calls.create(CALL)).version
    await keyed_calls.delete(CALL.id, version)
    again = replace(CALL, run="run_2")

    assert await keyed_calls.get(CALL.id) is None
    assert again == (await keyed_calls.create(again)).call
    with pytest.raises(Conflict):  # whoever ran the one before must not win
        await keyed_calls.replace(CALL, version)


async def test_only_the_version_that_was_meant_is_deleted(keyed_calls: KeyedCalls) -> None:
    first = (await keyed_calls.create(CALL)).version
    second = await keyed_calls.replace(CALL, first)
    await keyed_calls.delete(CALL.id, first)
    await keyed_calls.delete("unknown", second)

    assert await keyed_calls.get(CALL.id) is not None


async def test_a_call_is_forgotten_by_its_time(keyed_calls: KeyedCalls, clock: Clock) -> None:
    old = (await keyed_calls.create(CALL)).version
    clock.time = CALL.expire_at
    assert await keyed_calls.get(CALL.id) is None
    again = replace(CALL, run="run_2", expire_at=clock() + DAY)
    created = await keyed_calls.create(again)

    assert again == created.call
    assert old < created.version
    with pytest.raises(Conflict):  # whoever ran the one before must not win
        await keyed_calls.replace(CALL, old)


async def test_what_is_over_is_deleted_some_at_a_time(keyed_calls: KeyedCalls) -> None:
    for number in range(5):
        await keyed_calls.create(
            replace(CALL, id=f"c{number}", expire_at=START + timedelta(seconds=1 + number))
        )
    soon = START + timedelta(seconds=4)

    assert 3 == await keyed_calls.forget(soon, 3)
    assert 1 == await keyed_calls.forget(soon, 3)
    assert 0 == await keyed_calls.forget(soon, 3)
    assert await keyed_calls.get("c4") is not None
