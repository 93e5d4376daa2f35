"""`penstock backup`: what people read of copies, and what they can do without a platform."""

import shutil
from pathlib import Path

import pytest

from tests.services.cli.conftest import Command
from tests.support.command import penstock
from tests.support.platform import Running

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_people_read_where_it_lies_and_what_to_keep_elsewhere(
    platform: Running, command: Command
) -> None:
    none = await command("backup", "list")
    taken = await command("backup", "run")
    listed = await command("backup", "list")
    verified = await command("backup", "verify")
    again = await command("backup", "list")

    assert "Take one: penstock backup run" in none.out
    assert (0, "") == (taken.code, taken.err)
    assert str(platform.folder / "backups") in taken.out
    assert f"It lies in {platform.folder / 'master-key'}: keep a copy in another place" in taken.out
    assert "AGE" in listed.out
    assert " no" in listed.out
    assert " no" not in again.out
    assert "is whole: " in verified.out
    assert "adds up" in verified.out


async def test_a_backup_is_proven_and_brought_back_by_commands_alone(
    platform: Running, command: Command, tmp_path: Path
) -> None:
    taken = (await command("backup", "run", "--json")).json
    folder, key, new = tmp_path / "elsewhere", tmp_path / "copy-of-master-key", tmp_path / "new"
    shutil.copytree(platform.folder / "backups", folder)
    shutil.copyfile(platform.folder / "master-key", key)
    where = ("--from", str(folder), "--master-key", str(key))

    proven = penstock("backup", "verify", taken["id"], *where, "--json")
    back = penstock("backup", "restore", *where, "--data-dir", str(new))
    twice = penstock("backup", "restore", *where, "--data-dir", str(new))
    nowhere = penstock("backup", "verify", "--from", str(tmp_path / "nothing"), "--master-key", str(key))

    assert (taken["id"], taken["taken_at"]) == (proven.json["backup_id"], proven.json["taken_at"])
    assert f"is back in {new}: " in back.out
    assert f"penstock up --data-dir {new}" in back.out
    assert "is not empty" in twice.sentence
    assert "There is no backup in" in nowhere.sentence


def test_where_backups_lie_has_to_be_said(tmp_path: Path) -> None:
    assert "--from" in penstock("backup", "restore", "--data-dir", str(tmp_path / "new")).err


@pytest.mark.parametrize("how", [("verify",), ("restore", "--data-dir", "new")], ids=["verify", "restore"])
@pytest.mark.parametrize("named", ["--from", "PENSTOCK_BACKUP_BUCKET"])
def test_exports_in_a_bucket_are_brought_back_by_gcloud(how: tuple[str, ...], named: str) -> None:
    bucket = "gs://acme-backups/penstock/"
    if named == "--from":
        ended = penstock("backup", *how, "--from", bucket)
    else:
        ended = penstock("backup", *how, "20270301T120000Z-00000001", PENSTOCK_BACKUP_BUCKET=bucket)

    backup = "BACKUP" if named == "--from" else "20270301T120000Z-00000001"
    for kind in ("data", "data-keys"):
        assert f"gcloud firestore import gs://acme-backups/penstock/{kind}/{backup} --database=" in ended.err
    assert 1 == ended.code
