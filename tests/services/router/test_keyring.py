"""The keys a router has seen: one read for all who wait, none for what cannot be a key."""

import asyncio

import pytest

from events.words import Unavailable
from services.router.credentials import mint
from services.router.keyring import UNKNOWN_FOR_S
from tests.support.clock import now
from tests.support.keys import StoredKeys

pytestmark = pytest.mark.anyio


@pytest.fixture
def store() -> StoredKeys:
    return StoredKeys()


async def test_a_key_is_read_once(store: StoredKeys) -> None:
    token = mint()
    key, ring = await store.makes(token), store.ring()

    assert ring.find(token) is None
    assert [key] * 3 == [await ring.fetch(token) for _ in range(3)]
    assert key == ring.find(token)
    assert 1 == store.reads


async def test_many_who_ask_at_once_share_a_read(store: StoredKeys) -> None:
    token = mint()
    key, ring = await store.makes(token), store.ring()
    store.door.clear()
    asking = [asyncio.create_task(ring.fetch(token)) for _ in range(20)]
    await asyncio.sleep(0)
    store.door.set()

    assert [key] * 20 == await asyncio.gather(*asking)
    assert 1 == store.reads


async def test_one_who_stops_waiting_does_not_stop_the_others(store: StoredKeys) -> None:
    token = mint()
    key, ring = await store.makes(token), store.ring()
    store.door.clear()
    first, second = asyncio.create_task(ring.fetch(token)), asyncio.create_task(ring.fetch(token))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    store.door.set()

    assert key == await second


@pytest.mark.parametrize(
    "token",
    ["", "hello", "psk_", "sk-123", "psk_" + "é" * 49, mint("pak_")],
    ids=["nothing", "a word", "a prefix", "a strange one", "no ASCII", "an admin key"],
)
async def test_what_cannot_be_a_key_costs_no_read(store: StoredKeys, token: str) -> None:
    assert await store.ring().fetch(token) is None
    assert 0 == store.reads


async def test_an_unknown_key_is_asked_for_again_after_a_while_only(store: StoredKeys) -> None:
    token, ring = mint(), store.ring()
    assert await ring.fetch(token) is None
    assert await ring.fetch(token) is None
    assert 1 == store.reads
    key = await store.makes(token)
    store.time += UNKNOWN_FOR_S + 1

    assert key == await ring.fetch(token)


async def test_a_change_of_the_stored_ring_makes_all_forgotten(store: StoredKeys) -> None:
    token = mint()
    key, ring = await store.makes(token), store.ring()
    await ring.refresh()
    await ring.fetch(token)
    await ring.refresh()
    assert ring.find(token) is not None
    await store.keys.revoke(key.id, now())
    await ring.refresh()

    assert ring.find(token) is None
    found = await ring.fetch(token)
    assert found is not None
    assert found.revoked_at is not None


async def test_a_store_that_is_away_is_no_verdict_on_a_key(store: StoredKeys) -> None:
    token = mint()
    key, ring = await store.makes(token), store.ring()
    store.away = True
    with pytest.raises(Unavailable):
        await ring.fetch(token)
    store.away = False

    assert key == await ring.fetch(token)


async def test_a_change_is_noticed_even_if_the_store_was_away_in_between(store: StoredKeys) -> None:
    token = mint()
    ring = store.ring()
    await store.makes(token)
    await ring.refresh()
    await ring.fetch(token)
    store.away = True
    following = asyncio.create_task(ring.follow(0.001))
    await asyncio.sleep(0.02)
    assert ring.find(token) is not None
    store.away = False
    await store.makes(mint())
    async with asyncio.timeout(10):
        while ring.find(token) is not None:
            await asyncio.sleep(0.001)
    following.cancel()


async def test_known_keys_go_on_without_the_store_for_their_grace_and_no_longer(store: StoredKeys) -> None:
    token = mint()
    key, ring = await store.makes(token), store.ring(grace_s=300.0)
    await ring.refresh()
    await ring.fetch(token)
    store.away = True
    following = asyncio.create_task(ring.follow(0.001))
    store.time = 300.0
    await asyncio.sleep(0.02)
    assert key == ring.find(token)
    store.time = 300.1
    async with asyncio.timeout(10):
        while ring.find(token) is not None:
            await asyncio.sleep(0.001)
    with pytest.raises(Unavailable):  # neither let in nor turned away
        await ring.fetch(token)
    store.away = False

    assert key == await ring.fetch(token)
    following.cancel()


async def test_a_key_revoked_while_it_is_being_read_is_not_remembered_as_good(store: StoredKeys) -> None:
    token = mint()
    key, ring = await store.makes(token), store.ring()
    store.door.clear()
    asking = asyncio.create_task(ring.fetch(token))
    while not store.reads:
        await asyncio.sleep(0)
    ring.forget()  # somebody changed the ring meanwhile
    store.door.set()
    assert key == await asking

    assert ring.find(token) is None
