"""Backups that are not whole, or not ours: each is refused with its own sentence."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from events.words import Invalid
from functions.backup import manifest as manifests
from functions.backup.manifest import Kind
from services.adapters.local.archive import MANIFEST, place_of, seal_of
from services.adapters.local.master_key import FileMasterKey
from services.adapters.sqlite.data_keys import SqliteDataKeys
from services.adapters.sqlite.schema import DATA
from tests.services.runtime.backup_site import FIRST, SECOND, Site

pytestmark = pytest.mark.anyio


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
async def place(site: Site) -> Path:
    """The archive of data of a backup that was taken."""
    await site.take()
    return place_of(site.backups, "data", FIRST)


async def test_a_flipped_byte_is_refused(site: Site, place: Path) -> None:
    packed = bytearray((place / "data.db.gz").read_bytes())
    packed[len(packed) // 2] ^= 1
    (place / "data.db.gz").write_bytes(packed)

    await site.refuses(r"data\.db\.gz is damaged or was altered: .* take the backup before it")


async def test_a_truncated_archive_is_refused(site: Site, place: Path) -> None:
    packed = (place / "data.db.gz").read_bytes()
    (place / "data.db.gz").write_bytes(packed[:-1])

    await site.refuses(r"data\.db\.gz was cut short: it has .* bytes, not")


@pytest.mark.parametrize("name", ["data.db.gz", MANIFEST])
async def test_a_missing_file_is_refused(site: Site, place: Path, name: str) -> None:
    (place / name).unlink()

    await site.refuses(f"{name} (is missing|cannot be read .No such file)")


async def test_a_damaged_archive_of_keys_is_refused(site: Site) -> None:
    await site.take()
    packed = place_of(site.backups, "data-keys", FIRST) / "data-keys.db.gz"
    packed.write_bytes(packed.read_bytes()[:-3])

    await site.refuses(r"data-keys\.db\.gz was cut short")


async def test_a_wrong_master_key_is_refused(site: Site) -> None:
    await site.take()
    site.master_key.unlink()
    FileMasterKey(site.master_key)

    await site.refuses("was not sealed by this master key. Name the one it was sealed by: --master-key")


async def test_a_file_that_is_no_master_key_is_refused(site: Site) -> None:
    await site.take()
    site.master_key.write_bytes(b"\xff\x00")

    await site.refuses("master-key (holds no key|does not hold a master key)")


async def test_without_a_master_key_it_is_refused_and_none_is_made(site: Site) -> None:
    await site.take()
    site.master_key.unlink()

    with pytest.raises(Invalid, match=r"There is no master key at .* --master-key"):
        await site.verify()
    with pytest.raises(Invalid, match="There is no master key at"):
        await site.restore(master_key=None)
    assert not site.master_key.exists()


async def test_a_manifest_of_another_backup_is_refused(site: Site, place: Path) -> None:
    await site.take(SECOND)
    shutil.copyfile(place / MANIFEST, place_of(site.backups, "data", SECOND) / MANIFEST)

    await site.refuses(f"is the manifest of another backup .data/{FIRST}")


async def test_a_manifest_that_was_altered_is_refused(site: Site, place: Path) -> None:
    altered = (place / MANIFEST).read_bytes().replace(b'"requests":2', b'"requests":1')
    (place / MANIFEST).write_bytes(altered)

    await site.refuses("was altered after it was sealed")


async def sealed_anew(
    site: Site, kind: Kind, change: Callable[[manifests.Manifest], manifests.Manifest]
) -> None:
    """What another release might have written."""
    path = place_of(site.backups, kind, FIRST) / MANIFEST
    body, _ = manifests.unsealed(path.read_bytes())
    changed = manifests.encode(change(manifests.decode(body)))
    path.write_bytes(await seal_of(changed, FileMasterKey(site.master_key)))


@pytest.mark.parametrize("kind", ["data", "data-keys"])
async def test_a_newer_schema_is_refused(site: Site, place: Path, kind: Kind) -> None:
    await sealed_anew(
        site,
        kind,
        lambda made: replace(
            made, release="9.1", contents=replace(made.contents, schema=len(DATA.steps) + 1)
        ),
    )

    await site.refuses(r"newer release of Penstock \(9\.1: its schema is .* Use that release")


async def test_a_manifest_of_a_newer_form_is_refused(site: Site, place: Path) -> None:
    await sealed_anew(site, "data", lambda made: replace(made, release="9.1", format=2))

    await site.refuses(r"newer release of Penstock \(9\.1\)")


async def test_books_that_do_not_add_up_are_refused(site: Site) -> None:
    site.change("UPDATE sums SET output = output + 1")
    await site.take()

    await site.refuses("its pages add up to")


async def test_a_body_that_does_not_open_is_refused(site: Site) -> None:
    site.change("UPDATE bodies SET sealed = (SELECT sealed FROM bodies ORDER BY seq LIMIT 1)")
    await site.take()

    await site.refuses("does not open under the key of acme")


async def test_a_data_key_of_another_master_key_is_refused(site: Site) -> None:
    wrapped = await FileMasterKey(site.folder / "other").wrap("bolt", b"k" * 32)
    keys = SqliteDataKeys.open(site.data / "data-keys.db")
    await keys.create("bolt", wrapped)
    await keys.close()
    await site.take()

    await site.refuses("The data key of bolt was not wrapped by the master key")


async def test_a_checksum_that_fits_a_changed_file_does_not_help(site: Site, place: Path) -> None:
    """Somebody who can write the folder, but has not got the master key."""
    packed = (place / "data.db.gz").read_bytes() + b"\x00"
    (place / "data.db.gz").write_bytes(packed)
    told = json.loads((place / MANIFEST).read_bytes())
    told["manifest"]["file"] |= {"bytes": len(packed), "sha256": hashlib.sha256(packed).hexdigest()}
    (place / MANIFEST).write_bytes(msgspec.json.encode(told))

    await site.refuses("was altered after it was sealed")


async def test_where_there_is_no_backup_it_is_said(site: Site) -> None:
    await site.refuses("There is no backup in .* Name the folder they lie in: --from")
    await site.take()
    await site.refuses(f"There is no backup 2020 in .* The newest one is {FIRST}", "2020")
