"""A sealed body opens only as what it was sealed for, under the key it was sealed with."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from events.words import Conflict, Invalid
from services.adapters.local.master_key import FileMasterKey
from services.adapters.memory.data_keys import MemoryDataKeys
from services.sealing.sealer import Sealer
from tests.support.platform import Running, config_file, running
from tests.support.upstream import upstream

pytestmark = pytest.mark.anyio

CLEAR = b"the prompt: h\xc3\xa9llo"
BOUND = ("acme", "prompt", "req_1-prompt")


@pytest.fixture
def data_keys() -> MemoryDataKeys:
    return MemoryDataKeys()


@pytest.fixture
def sealer(tmp_path: Path, data_keys: MemoryDataKeys) -> Sealer:
    return Sealer(FileMasterKey(tmp_path / "master-key"), data_keys)


@pytest.mark.parametrize("clear", [b"", CLEAR, b"x" * 10**6])
async def test_what_is_sealed_opens_again(sealer: Sealer, clear: bytes) -> None:
    sealed = await sealer.seal(*BOUND, clear)

    assert clear == await sealer.open(*BOUND, sealed)
    assert len(clear) + 29 == len(sealed)


async def test_what_is_sealed_shows_nothing_and_never_looks_the_same(sealer: Sealer) -> None:
    sealed = {await sealer.seal(*BOUND, CLEAR) for _ in range(10)}

    assert 10 == len(sealed)
    assert not any(CLEAR[:6] in one for one in sealed)


@pytest.mark.parametrize("place", range(3))
async def test_it_opens_only_for_its_tenant_its_kind_and_its_id(sealer: Sealer, place: int) -> None:
    sealed = await sealer.seal(*BOUND, CLEAR)
    other = [*BOUND]
    other[place] += "x"

    with pytest.raises(Invalid):
        await sealer.open(*other, sealed)


async def test_a_secret_is_always_the_same_and_another_for_every_tenant_purpose_and_data_key(
    sealer: Sealer, data_keys: MemoryDataKeys, tmp_path: Path
) -> None:
    secret = await sealer.secret("acme", "cache")
    again = Sealer(FileMasterKey(tmp_path / "master-key"), data_keys)
    elsewhere = Sealer(FileMasterKey(tmp_path / "master-key"), MemoryDataKeys())

    assert secret == await sealer.secret("acme", "cache") == await again.secret("acme", "cache")
    assert 32 == len(secret)
    assert 4 == len(
        {
            secret,
            await sealer.secret("acme", "other"),
            await sealer.secret("globex", "cache"),
            await elsewhere.secret("acme", "cache"),
        }
    )


async def test_no_byte_of_it_can_be_altered(sealer: Sealer) -> None:
    sealed = await sealer.seal(*BOUND, CLEAR)
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1
        with pytest.raises(Invalid):
            await sealer.open(*BOUND, bytes(altered))


async def test_no_end_of_it_can_be_cut(sealer: Sealer) -> None:
    sealed = await sealer.seal(*BOUND, CLEAR)
    for size in range(len(sealed)):
        with pytest.raises(Invalid):
            await sealer.open(*BOUND, sealed[:size])


async def test_a_format_that_is_not_known_is_told_from_damage(sealer: Sealer) -> None:
    with pytest.raises(Invalid, match="format this release does not know"):
        await sealer.open(*BOUND, b"\x02" + b"x" * 40)


async def test_it_does_not_open_under_another_master_key(
    tmp_path: Path, sealer: Sealer, data_keys: MemoryDataKeys
) -> None:
    sealed = await sealer.seal(*BOUND, CLEAR)
    other = Sealer(FileMasterKey(tmp_path / "other-master-key"), data_keys)

    with pytest.raises(Invalid, match="master key"):
        await other.open(*BOUND, sealed)


async def test_it_opens_in_another_process_with_the_same_keys(
    tmp_path: Path, sealer: Sealer, data_keys: MemoryDataKeys
) -> None:
    sealed = await sealer.seal(*BOUND, CLEAR)
    again = Sealer(FileMasterKey(tmp_path / "master-key"), data_keys)

    assert CLEAR == await again.open(*BOUND, sealed)


async def test_tenants_have_keys_of_their_own(sealer: Sealer, data_keys: MemoryDataKeys) -> None:
    await sealer.seal("acme", "prompt", "a", CLEAR)
    await sealer.seal("umbrella", "prompt", "a", CLEAR)

    assert await data_keys.get("acme") != await data_keys.get("umbrella")


async def test_many_who_seal_first_at_once_share_the_first_key(sealer: Sealer) -> None:
    sealed = await asyncio.gather(
        *(sealer.seal("acme", "prompt", str(number), CLEAR) for number in range(20))
    )

    for number, one in enumerate(sealed):
        assert CLEAR == await sealer.open("acme", "prompt", str(number), one)


async def test_once_its_key_is_erased_nothing_opens_or_is_sealed_any_more(
    sealer: Sealer, data_keys: MemoryDataKeys
) -> None:
    sealed = await sealer.seal(*BOUND, CLEAR)
    await data_keys.erase("acme")
    sealer.forget("acme")

    with pytest.raises(Conflict):
        await sealer.open(*BOUND, sealed)
    with pytest.raises(Conflict):
        await sealer.seal(*BOUND, CLEAR)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Running]:
    async with upstream() as engine, running(tmp_path, config=config_file(tmp_path, engine.url)) as made:
        yield made


async def test_keys_lie_in_files_only_their_owner_can_read(platform: Running) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in platform.folder.iterdir()}

    for name in ("api-key", "admin-key", "master-key", "lock"):
        assert 0o600 == modes[name], name


async def test_data_keys_lie_in_a_file_of_their_own(platform: Running) -> None:
    body = b'{"model":"gemma","messages":[{"role":"user","content":"x"}]}'
    assert 202 == (await platform.call("POST", "/v1/requests", body)).status

    assert [] == [table for table in tables(platform.folder / "data.db") if "data_keys" in table]
    assert ["data_keys"] == tables(platform.folder / "data-keys.db")


def tables(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
