from datetime import timedelta, timezone

import pytest
from msgspec.structs import replace

from events.words import ApiKey, Conflict, Tenant
from tests.contracts.adapters import START, Keys

pytestmark = pytest.mark.anyio

KEY = ApiKey(hash="h1", id="k1", tenant="acme", name="laptop", created_at=START)
OTHER = ApiKey(
    hash="h2",
    id="k2",
    tenant="umbrella",
    name="ci",
    created_at=START - timedelta(days=1),
    expires_at=START.astimezone(timezone(timedelta(hours=2))),
)
ACME = Tenant(id="acme", name="Acme", created_at=START)


async def test_a_key_is_found_by_its_hash_and_by_its_id(keys: Keys) -> None:
    await keys.add(KEY)
    await keys.add(OTHER)

    assert await keys.by_hash("h1") == KEY
    assert await keys.by_id("umbrella", "k2") == OTHER
    assert await keys.by_hash("h3") is None
    assert await keys.by_id("acme", "k3") is None


async def test_a_key_is_not_found_under_another_tenant(keys: Keys) -> None:
    await keys.add(KEY)

    assert await keys.by_id("umbrella", "k1") is None


@pytest.mark.parametrize("taken", [{"id": "new"}, {"hash": "new"}], ids=["hash", "id"])
async def test_a_key_whose_hash_or_id_is_taken_is_refused(keys: Keys, taken: dict[str, str]) -> None:
    await keys.add(KEY)
    revision = await keys.revision()

    with pytest.raises(Conflict, match=r"k1|new"):
        await keys.add(replace(KEY, **taken, name="intruder"))

    assert await keys.list() == [KEY]
    assert await keys.by_hash("new") is None
    assert await keys.revision() == revision


async def test_keys_are_listed_by_tenant_or_all_oldest_first(keys: Keys) -> None:
    assert await keys.list() == []
    await keys.add(KEY)
    await keys.add(OTHER)

    assert await keys.list() == [OTHER, KEY]
    assert await keys.list("acme") == [KEY]
    assert await keys.list("nobody") == []


async def test_the_first_revocation_stays(keys: Keys) -> None:
    await keys.add(KEY)
    first = await keys.revoke("k1", START + timedelta(hours=1))
    again = await keys.revoke("k1", START + timedelta(hours=2))

    assert first == again == replace(KEY, revoked_at=START + timedelta(hours=1))
    assert await keys.by_hash("h1") == first
    assert await keys.revoke("k9", START) is None


async def test_tenants_are_kept_by_id(keys: Keys) -> None:
    zeta = Tenant(id="zeta", name="Zeta", created_at=START)
    await keys.add_tenant(zeta)
    await keys.add_tenant(ACME)

    assert await keys.tenant("acme") == ACME
    assert await keys.tenant("nobody") is None
    assert await keys.tenants() == [ACME, zeta]
    with pytest.raises(Conflict, match="acme"):
        await keys.add_tenant(replace(ACME, name="Other"))
    assert await keys.tenant("acme") == ACME


async def test_a_tenant_may_be_changed(keys: Keys) -> None:
    caching = replace(ACME, cache="on", may_leave="on")
    assert not await keys.change_tenant(caching)
    assert await keys.tenants() == []
    await keys.add_tenant(ACME)
    revision = await keys.revision()

    assert await keys.change_tenant(caching)
    assert await keys.tenant("acme") == caching
    assert await keys.revision() > revision


async def test_every_change_makes_the_revision_grow_and_nothing_else_does(keys: Keys) -> None:
    seen = [await keys.revision()]
    await keys.add_tenant(ACME)
    seen.append(await keys.revision())
    await keys.add(KEY)
    seen.append(await keys.revision())
    await keys.revoke("k1", START)
    seen.append(await keys.revision())
    await keys.revoke("k1", START)
    await keys.revoke("k9", START)
    await keys.list()

    assert sorted(set(seen)) == seen
    assert await keys.revision() == seen[-1]
