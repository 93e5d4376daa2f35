from datetime import timedelta

import pytest
from msgspec.structs import replace

from events.words import Conflict
from functions.caching.entry import Entry
from functions.caching.generations import Generations
from tests.contracts.adapters import START, Cache, Clock

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)
ENTRY = Entry(
    id="ab12-0.0.0.0",
    key="ab12",
    tenant="acme",
    model="gemma/é",
    expire_at=START + HOUR,
    sealed=b"\x00sealed",
)
GENERATIONS = Generations(changes=3, everything=1, named={"tenant:acme": 2}, purged_at=START)


def entry(name: str, **fields: object) -> Entry:
    return replace(ENTRY, id=f"{name}-0.0.0.0", key=name, **fields)


async def there(cache: Cache, *names: str) -> set[str]:
    return {name for name in names if await cache.get(f"{name}-0.0.0.0") is not None}


async def test_an_entry_comes_back_as_it_was_put(cache: Cache) -> None:
    await cache.put(ENTRY)

    assert ENTRY == await cache.get(ENTRY.id)
    assert await cache.get("ab12-0.0.0.1") is None


async def test_an_entry_put_again_is_replaced(cache: Cache) -> None:
    await cache.put(ENTRY)
    again = replace(ENTRY, sealed=b"other", expire_at=START + 2 * HOUR)
    await cache.put(again)

    assert again == await cache.get(ENTRY.id)


async def test_an_answer_as_large_as_may_be_kept_fits(cache: Cache) -> None:
    large = replace(ENTRY, sealed=bytes(800 * 1024))
    await cache.put(large)

    assert large == await cache.get(ENTRY.id)


async def test_an_entry_whose_time_is_over_is_not_found_and_is_forgotten(cache: Cache, clock: Clock) -> None:
    for number in range(3):
        await cache.put(entry(f"{number}", expire_at=START + timedelta(seconds=number + 1)))
    now = clock.forward(2)

    assert {"2"} == await there(cache, "0", "1", "2")
    assert 1 == await cache.forget(now, 1)
    assert 1 == await cache.forget(now, 10)
    assert 0 == await cache.forget(now, 10)
    assert {"2"} == await there(cache, "0", "1", "2")


@pytest.mark.parametrize(("scope", "name"), [("tenant", "acme"), ("model", "gemma/é"), ("key", "a")])
async def test_the_entries_of_a_tenant_a_model_or_a_key_are_removed(
    cache: Cache, scope: str, name: str
) -> None:
    await cache.put(entry("a"))
    await cache.put(replace(entry("a"), id="a-0.1.0.0"))
    await cache.put(entry("other", tenant="globex", model="gemma"))

    assert 1 == await cache.remove(scope, name, 1)
    assert 1 == await cache.remove(scope, name, 10)
    assert 0 == await cache.remove(scope, name, 10)
    assert {"other"} == await there(cache, "a", "other")


async def test_generations_come_back_as_they_were_put(cache: Cache) -> None:
    assert (Generations(), 0) == await cache.generations()
    await cache.put_generations(GENERATIONS, 0)
    stored, version = await cache.generations()

    assert GENERATIONS == stored
    await cache.put_generations(replace(GENERATIONS, changes=4), version)
    assert 4 == (await cache.generations())[0].changes


async def test_of_two_that_put_on_the_same_version_one_succeeds(cache: Cache) -> None:
    await cache.put_generations(GENERATIONS, 0)
    with pytest.raises(Conflict):
        await cache.put_generations(Generations(), 0)
    with pytest.raises(Conflict):
        await cache.put_generations(Generations(), 3_000)

    assert GENERATIONS == (await cache.generations())[0]
