import asyncio

import pytest

from events.words import Conflict
from tests.contracts.adapters import DataKeys

pytestmark = pytest.mark.anyio


async def test_a_tenant_without_a_key_has_none(data_keys: DataKeys) -> None:
    assert await data_keys.get("acme") is None


async def test_the_first_key_wins_and_is_returned_to_all(data_keys: DataKeys) -> None:
    offered = [bytes([n]) * 32 for n in range(8)]
    returned = await asyncio.gather(*(data_keys.create("acme", wrapped) for wrapped in offered))

    assert len(set(returned)) == 1
    assert returned[0] in offered
    assert await data_keys.get("acme") == returned[0]


async def test_keys_of_tenants_are_apart(data_keys: DataKeys) -> None:
    await data_keys.create("acme", b"a")
    await data_keys.create("zeta", b"z")
    await data_keys.erase("acme")

    assert await data_keys.get("acme") is None
    assert await data_keys.get("zeta") == b"z"


async def test_an_erased_key_never_comes_back(data_keys: DataKeys) -> None:
    await data_keys.create("acme", b"a")
    await data_keys.erase("acme")
    await data_keys.erase("acme")

    with pytest.raises(Conflict, match="acme"):
        await data_keys.create("acme", b"b")
    assert await data_keys.get("acme") is None


async def test_erasing_before_there_was_a_key_leaves_a_tombstone_too(data_keys: DataKeys) -> None:
    await data_keys.erase("acme")

    with pytest.raises(Conflict):
        await data_keys.create("acme", b"a")
