"""`penstock backup`."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from events.words import Invalid
from services.cli import options, platform, show
from services.runtime import backups
from services.runtime.settings import default_data_dir

COLUMNS = {
    "id": "BACKUP",
    "taken_at": "TAKEN",
    "age": "AGE",
    "data_bytes": "DATA",
    "data_keys_bytes": "DATA KEYS",
    "verified_at": "VERIFIED",
}
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


IN_A_BUCKET = """\
{bucket} holds exports of Firestore, and only Firestore brings them back, each into a new database:

  gcloud firestore databases create --database=NEW-DATA --location=LOCATION
  gcloud firestore import {bucket}/data/{backup} --database=NEW-DATA
  gcloud firestore databases create --database=NEW-KEYS --location=LOCATION
  gcloud firestore import {bucket}/data-keys/{backup} --database=NEW-KEYS

Then start every process with PENSTOCK_DATABASE=NEW-DATA and PENSTOCK_KEYS_DATABASE=NEW-KEYS; docs/cloud.md
says more."""


class _Taken(msgspec.Struct):
    id: str
    place: str
    master_key: str
    data_bytes: int = 0
    data_keys_bytes: int = 0


@click.group()
def command() -> None:
    """Copy everything that is kept, prove the copies, bring them back.

    The platform takes a backup every half hour, of one moment, while it serves. It has two archives: the
    data, and the wrapped data keys, which are kept for a shorter time, so that what was erased is gone.
    The master key is in neither: keep a copy of it in another place.

    On Google Cloud the archives are exports in the bucket PENSTOCK_BACKUP_BUCKET; they are brought back with
    gcloud, which verify and restore tell.
    """


@command.command()
@options.data_dir
@options.json_output
def run(data_dir: str | None, as_json: bool) -> None:
    """Take a backup now, and say where it and the master key lie."""
    answer = platform.find(data_dir).admin("POST", "/backups")
    if as_json:
        show.as_json(answer.read(platform.Json))
        return
    taken = answer.read(_Taken)
    if taken.data_bytes:
        sizes = f"{taken.data_bytes:,} bytes of data, {taken.data_keys_bytes:,} of wrapped data keys"
        click.echo(f"{taken.id} lies in {taken.place}: {sizes}.")
    else:
        click.echo(f"{taken.id} is still being written; penstock backup list will show it.")
    click.echo(
        f"The master key is not part of it. It lies in {taken.master_key}: keep a copy in another place, "
        "because without it no sealed body can be opened."
    )


@command.command("list")
@options.data_dir
@options.json_output
def list_backups(data_dir: str | None, as_json: bool) -> None:
    """List backups: their age and size, and when each was proven to be whole."""
    found = platform.find(data_dir).rows("/backups")
    if as_json:
        show.as_json(found)
        return
    now = datetime.now(UTC)
    rows = [
        row | {"age": _age(str(row["taken_at"]), now), "verified_at": row.get("verified_at") or "no"}
        for row in found
    ]
    show.as_table(rows, COLUMNS, empty="No backups yet. Take one: penstock backup run.")


@command.command()
@click.argument("backup", required=False)
@click.option("--from", "folder", metavar="DIR", help="The folder of backups [default: the platform's].")
@click.option("--master-key", metavar="FILE", help="The master key [default: the platform's].")
@options.data_dir
@options.json_output
def verify(
    backup: str | None, folder: str | None, master_key: str | None, data_dir: str | None, as_json: bool
) -> None:
    """Restore BACKUP, or the newest one, into a scratch folder and prove that it can be used.

    Its manifest is authentic, its files are whole, the ledger adds up, nothing in it is there twice, and
    sealed bodies open. No platform has to run. The scratch folder is made in $TMPDIR.
    """
    _check_no_bucket(folder or _named_bucket(), backup)
    home = Path(data_dir or os.environ.get("PENSTOCK_DATA_DIR") or default_data_dir(os.environ))
    place = Path(folder) if folder else backups.folder_of(home, os.environ.get("PENSTOCK_BACKUP_DIR"))
    key = Path(master_key) if master_key else home / backups.MASTER_KEY
    proof = asyncio.run(backups.verify(place, key, backup, datetime.now(UTC)))
    if as_json:
        show.as_json(msgspec.to_builtins(proof))
    else:
        click.echo(f"{proof.backup_id} is whole: {_found(proof)}.")


@command.command()
@click.argument("backup", required=False)
@click.option(
    "--from",
    "folder",
    metavar="DIR",
    required=True,
    envvar=("PENSTOCK_BACKUP_DIR", "PENSTOCK_BACKUP_BUCKET"),
    help="The folder of backups.",
)
@click.option(
    "--data-dir", metavar="NEW", required=True, help="The new data folder; nothing else may be in it."
)
@click.option("--master-key", metavar="FILE", help="The master key [default: the one in the new folder].")
@click.option(
    "--data-keys",
    metavar="FILE",
    help="data-keys.db of the lost platform, where it is still there: what was erased last stays erased.",
)
@options.json_output
def restore(
    backup: str | None,
    folder: str,
    data_dir: str,
    master_key: str | None,
    data_keys: str | None,
    as_json: bool,
) -> None:
    """Bring BACKUP, or the newest one, back into a new data folder, once it is proven to be whole.

    Nothing is overwritten. What was erased after the backup was taken stays erased. No platform has to
    run; the one of the backup must not, or requests would be run by both.
    """
    _check_no_bucket(folder, backup)
    proof = asyncio.run(
        backups.restore(
            Path(folder),
            backup,
            Path(data_dir),
            Path(master_key) if master_key else None,
            Path(data_keys) if data_keys else None,
        )
    )
    if as_json:
        show.as_json(msgspec.to_builtins(proof))
    else:
        click.echo(f"{proof.backup_id} is back in {data_dir}: {_found(proof)}.")
        click.echo(f"Start it: penstock up --data-dir {data_dir}")


def _named_bucket() -> str:
    """Where the environment says backups lie, unless it names a folder."""
    return "" if os.environ.get("PENSTOCK_BACKUP_DIR") else os.environ.get("PENSTOCK_BACKUP_BUCKET", "")


def _check_no_bucket(place: str, backup: str | None) -> None:
    """Raises `Invalid` with what to do instead."""
    if place.startswith("gs://"):
        raise Invalid(IN_A_BUCKET.format(bucket=place.rstrip("/"), backup=backup or "BACKUP"))


def _found(proof: backups.Proof) -> str:
    """What a backup holds, in words."""
    rows, books = proof.rows, proof.books
    tokens = books.input + books.output if books else 0
    erased = f", {proof.erased:,} requests are of tenants whose key was erased" if proof.erased else ""
    return (
        f"{rows.get('keys', 0):,} keys, {rows.get('requests', 0):,} queued requests, a ledger of "
        f"{rows.get('pages', 0):,} pages with {tokens:,} tokens that adds up; {proof.bodies:,} sealed bodies "
        f"were opened with {proof.tenants:,} data keys{erased}"
    )


def _age(taken_at: str, now: datetime) -> str:
    age_s = max(0, int((now - datetime.fromisoformat(taken_at)).total_seconds()))
    for seconds, unit in UNITS:
        if age_s >= seconds:
            return f"{age_s // seconds} {unit}"
    return "0 s"
