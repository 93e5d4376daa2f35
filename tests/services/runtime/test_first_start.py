"""The development key: made once, kept, and never raised from the dead."""

from datetime import timedelta
from pathlib import Path

import pytest

from events.words import ApiKey, Invalid
from services.adapters.memory.keys import MemoryKeys
from services.router.credentials import ADMIN_PREFIX, digest, mint, public_id, well_formed
from services.runtime.first_start import admin_key, development_key
from services.runtime.settings import Settings
from tests.support.clock import now

pytestmark = pytest.mark.anyio


@pytest.fixture
def keys() -> MemoryKeys:
    return MemoryKeys()


async def started(folder: Path, keys: MemoryKeys, **given: str) -> str | None:
    return await development_key(folder, Settings(data_dir=str(folder), **given), keys, now)  # type: ignore[arg-type]


async def usable(keys: MemoryKeys, key: str | None) -> bool:
    kept = await keys.by_hash(digest(key or ""))
    return kept is not None and kept.usable_at(now())


async def test_the_first_start_makes_a_key_and_its_tenant(tmp_path: Path, keys: MemoryKeys) -> None:
    key = await started(tmp_path, keys)

    assert ["default"] == [tenant.id for tenant in await keys.tenants()]
    assert await usable(keys, key)
    assert key == await started(tmp_path, keys)
    assert 1 == len(await keys.list())


async def test_a_key_that_was_revoked_stays_so_and_another_is_made(tmp_path: Path, keys: MemoryKeys) -> None:
    first = await started(tmp_path, keys)
    await keys.revoke(public_id(first or ""), now())
    second = await started(tmp_path, keys)

    assert first != second
    assert [False, True] == [await usable(keys, key) for key in (first, second)]
    assert second == (tmp_path / "api-key").read_text().strip()
    assert second == await started(tmp_path, keys)


async def test_a_crash_between_the_new_file_and_the_store_loses_no_key(
    tmp_path: Path, keys: MemoryKeys
) -> None:
    first = await started(tmp_path, keys)
    await keys.revoke(public_id(first or ""), now())
    new = mint()
    (tmp_path / "api-key").write_text(f"{new}\n")

    assert new == await started(tmp_path, keys)
    assert await usable(keys, new)


async def test_a_given_key_that_was_revoked_is_none(
    tmp_path: Path, keys: MemoryKeys, caplog: pytest.LogCaptureFixture
) -> None:
    given = mint()
    assert given == await started(tmp_path, keys, api_key=given)
    await keys.revoke(public_id(given), now())

    assert await started(tmp_path, keys, api_key=given) is None
    assert "PENSTOCK_API_KEY was revoked" in caplog.text
    assert not await usable(keys, given)
    assert [] == list(tmp_path.iterdir())


async def test_a_given_key_may_be_another_tenants(tmp_path: Path, keys: MemoryKeys) -> None:
    given = mint()
    name = public_id(given)
    await keys.add(ApiKey(hash=digest(given), id=name, tenant="acme", name="x", created_at=now()))

    assert given == await started(tmp_path, keys, api_key=given)
    assert "acme" == (await keys.list())[0].tenant


async def test_a_given_key_whose_time_is_over_is_none(tmp_path: Path, keys: MemoryKeys) -> None:
    given, hour_ago = mint(), now() - timedelta(hours=1)
    await keys.add(
        ApiKey(
            hash=digest(given),
            id=public_id(given),
            tenant="default",
            name="x",
            created_at=hour_ago,
            expires_at=hour_ago,
        )
    )

    assert await started(tmp_path, keys, api_key=given) is None


@pytest.mark.parametrize("given", ["hello", "psk_", "ключ"], ids=["a word", "half", "other letters"])
async def test_what_is_no_key_is_told(tmp_path: Path, keys: MemoryKeys, given: str) -> None:
    with pytest.raises(Invalid, match="PENSTOCK_API_KEY is not an API key"):
        await started(tmp_path, keys, api_key=given)


def test_an_operators_key_is_made_once_unless_one_is_given(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path))

    assert "given" == admin_key(tmp_path, Settings(data_dir="", admin_key="given"))
    made = admin_key(tmp_path, settings)
    assert well_formed(made, ADMIN_PREFIX)
    assert made == admin_key(tmp_path, settings)


def test_an_operators_key_that_no_header_can_carry_is_told(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="PENSTOCK_ADMIN_KEY"):
        admin_key(tmp_path, Settings(data_dir="", admin_key="ключ"))
