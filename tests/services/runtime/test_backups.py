"""Backups of a data folder: proven, and brought back with all that was there and nothing that was erased."""

import asyncio
import gzip
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from events.words import Conflict, Invalid
from services.adapters.local.archive import place_of
from services.adapters.local.archives import names
from services.adapters.local.folder import DataFolder
from services.adapters.local.master_key import FileMasterKey
from services.adapters.sqlite.data_keys import SqliteDataKeys
from services.runtime import backups
from services.runtime.settings import Settings
from tests.services.runtime.backup_site import FIRST, NOW, SECOND, Site

pytestmark = pytest.mark.anyio


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
async def place(site: Site) -> Path:
    """The archive of data of a backup that was taken."""
    await site.take()
    return place_of(site.backups, "data", FIRST)


def rows(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


async def test_a_backup_that_is_whole_is_proven_and_that_is_noted(site: Site) -> None:
    await site.take()
    proof = await site.verify()
    listed = await backups.archives_of(Settings(data_dir=str(site.data)), site.clock).kept()

    assert (FIRST, NOW + timedelta(minutes=30), 1, 3, 0) == (
        proof.backup_id, proof.taken_at, proof.tenants, proof.bodies, proof.erased,
    )  # fmt: skip
    assert proof.books is not None
    assert (4, 2) == (proof.books.requests, proof.rows["requests"])
    assert [NOW, NOW] == [archive.verified_at for archive in listed]


async def test_the_newest_is_taken_unless_one_is_named(site: Site) -> None:
    await site.take(FIRST)
    await site.take(SECOND)

    assert (SECOND, FIRST) == ((await site.verify()).backup_id, (await site.verify(FIRST)).backup_id)


async def test_what_is_brought_back_is_what_was_there(site: Site) -> None:
    await site.take()
    proof = await site.restore()

    assert {"data.db", "data-keys.db", "master-key", "lock"} == {path.name for path in site.target.iterdir()}
    for name in ("data.db", "data-keys.db"):
        assert rows(site.data / name) == rows(site.target / name)
        assert 0o600 == (site.target / name).stat().st_mode & 0o777
    assert site.master_key.read_bytes() == (site.target / "master-key").read_bytes()
    assert 0o700 == site.target.stat().st_mode & 0o777
    assert proof.bodies > 0


async def test_the_master_key_may_be_put_there_beforehand(site: Site) -> None:
    await site.take()
    site.target.mkdir(mode=0o755)
    shutil.copyfile(site.master_key, site.target / "master-key")

    await site.restore(master_key=None)
    assert (site.target / "data.db").exists()
    assert 0o700 == site.target.stat().st_mode & 0o777
    assert 0o600 == (site.target / "master-key").stat().st_mode & 0o777


async def test_the_master_key_is_in_no_archive(site: Site) -> None:
    await site.take()
    key = bytes.fromhex(site.master_key.read_text().strip())
    for path in site.backups.rglob("*"):
        if path.is_file():
            packed = path.read_bytes()
            content = gzip.decompress(packed) if path.suffix == ".gz" else packed
            assert key not in content
            assert key.hex().encode() not in content


async def test_data_keys_are_in_no_archive_of_data(site: Site, place: Path) -> None:
    with closing(sqlite3.connect(site.data / "data-keys.db")) as connection:
        wrapped = [bytes(row[0]) for row in connection.execute("SELECT wrapped FROM data_keys")]
    content = gzip.decompress((place / "data.db.gz").read_bytes())

    assert len(wrapped) == 1
    assert not any(key in content for key in wrapped)


# --- what was erased


async def test_what_was_erased_after_the_backup_stays_erased(site: Site) -> None:
    await site.take(FIRST)
    await site.erase("acme")
    await site.take(SECOND)
    proof = await site.restore(FIRST)

    assert (0, 2) == (proof.tenants, proof.erased)
    keys = SqliteDataKeys.open(site.target / "data-keys.db")
    assert await keys.get("acme") is None
    with pytest.raises(Conflict, match="was erased"):
        await keys.create("acme", b"another")
    await keys.close()


async def test_what_was_erased_last_stays_erased_where_the_old_keys_are_still_there(site: Site) -> None:
    await site.take()
    await site.erase("acme")
    proof = await site.restore(data_keys=site.data / "data-keys.db")

    assert (0, 2) == (proof.tenants, proof.erased)


async def test_old_data_come_back_with_newer_keys_once_their_own_are_gone(site: Site) -> None:
    await site.take(FIRST)
    await site.take(SECOND)
    shutil.rmtree(place_of(site.backups, "data-keys", FIRST))

    assert 3 == (await site.restore(FIRST)).bodies


async def test_keys_older_than_the_data_are_refused(site: Site) -> None:
    await site.take(FIRST)
    await site.take(SECOND)
    shutil.rmtree(place_of(site.backups, "data-keys", SECOND))
    await site.refuses(f"newest archive of data keys is that of {FIRST}, .* --data-keys")
    shutil.rmtree(place_of(site.backups, "data-keys", FIRST))
    await site.refuses("newest archive of data keys is missing", FIRST)

    assert 3 == (await site.restore(data_keys=site.data / "data-keys.db")).bodies


async def test_a_file_of_data_keys_that_is_none_is_refused(site: Site) -> None:
    await site.take()
    with pytest.raises(Invalid, match="There is no file of data keys at"):
        await site.restore(data_keys=site.data / "nothing")
    with pytest.raises(Invalid, match="no such table: data_keys"):
        await site.restore(data_keys=site.data / "data.db")


# --- who is killed

TAKING = """
import asyncio, itertools, sys
from services.runtime.backups import archives_of
from services.runtime.process import utc_now
from services.runtime.settings import Settings

async def take():
    archives = archives_of(Settings(data_dir=sys.argv[1]), utc_now)
    for number in itertools.count():
        await archives.take(f"{sys.argv[2]}-{number:08}", utc_now())
        print(number, flush=True)

asyncio.run(take())
"""


@pytest.mark.slow
async def test_whoever_is_killed_leaves_no_archive_that_is_not_whole(site: Site) -> None:
    for number in range(5):
        command = [sys.executable, "-P", "-c", TAKING, str(site.data), f"2027030{number + 1}T120000Z"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            await asyncio.sleep(number * 0.007)
            process.kill()
    taken = names(site.backups, "data")

    assert {f"2027030{number}" for number in range(1, 6)} == {name[:8] for name in taken}
    proven = [
        (await site.verify(name)).backup_id for name in taken if name in names(site.backups, "data-keys")
    ]
    assert len(taken) - len(proven) <= 5  # killed between the two archives of a backup
    await site.take("20270306T120000Z-00000000")
    assert [] == list(site.backups.glob("*/.*"))


# --- where to


async def test_a_folder_that_is_not_empty_is_left_alone(site: Site) -> None:
    await site.take()
    site.target.mkdir()
    (site.target / "data.db").write_text("mine")

    with pytest.raises(Invalid, match=r"is not empty \(data\.db\), and a restore overwrites nothing"):
        await site.restore()
    assert ["data.db"] == [path.name for path in site.target.iterdir()]


async def test_a_folder_with_another_master_key_is_left_alone(site: Site) -> None:
    await site.take()
    site.target.mkdir(mode=0o700)
    FileMasterKey(site.target / "master-key")

    with pytest.raises(Invalid, match="is another master key than"):
        await site.restore()


async def test_no_platform_starts_on_a_folder_while_it_is_filled(site: Site) -> None:
    await site.take()
    site.target.mkdir(mode=0o700)
    starting = DataFolder(site.target)
    starting.lock()

    with pytest.raises(Conflict, match="Another penstock runs on"):
        await site.restore()
    starting.unlock()
    await site.restore()


async def test_after_a_refusal_the_same_folder_will_do(site: Site, place: Path) -> None:
    whole = (place / "data.db.gz").read_bytes()
    (place / "data.db.gz").write_bytes(whole[:-1])
    await site.refuses("cut short")
    (place / "data.db.gz").write_bytes(whole)

    assert 3 == (await site.restore()).bodies
