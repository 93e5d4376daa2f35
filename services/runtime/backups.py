"""Backups of a platform on this machine: how they are taken, proven whole and brought back."""

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path

from events.words import Invalid, Record
from functions.backup.manifest import KINDS, Books, Kind, Manifest
from functions.backup.retention import Keep
from services.adapters.local.archive import manifest_of, mapped, note_verified, place_of, unpack
from services.adapters.local.archives import FolderArchives, Source, names
from services.adapters.local.draft import sync_folder
from services.adapters.local.folder import DataFolder
from services.adapters.local.master_key import FileMasterKey
from services.adapters.local.secret_file import write
from services.adapters.sqlite.audit import Snapshot, check_bodies, check_books, check_file
from services.adapters.sqlite.backup import copy
from services.adapters.sqlite.data_keys import DATA_KEYS
from services.adapters.sqlite.database import Schema
from services.adapters.sqlite.schema import DATA
from services.router.backups import Backups
from services.runtime.settings import Settings
from services.runtime.version import version
from services.sealing.sealer import Sealer

FILES: Mapping[Kind, str] = {"data": "data.db", "data-keys": "data-keys.db"}
SCHEMAS: Mapping[Kind, Schema] = {"data": DATA, "data-keys": DATA_KEYS}
MASTER_KEY = "master-key"
MAY_BE_THERE = frozenset({MASTER_KEY, "lock"})


class Proof(Record):
    """What a backup was found to hold. `bodies` were opened; `erased` requests are of tenants whose data key
    was erased, so that nobody can open theirs.
    """

    backup_id: str
    taken_at: datetime
    release: str
    rows: dict[str, int]
    books: Books | None
    tenants: int
    bodies: int
    erased: int


def folder_of(data_dir: Path, backup_dir: str | None) -> Path:
    """Where backups lie: where the setting says, else in the data folder."""
    return Path(backup_dir) if backup_dir else data_dir / "backups"


def keep_of(settings: Settings) -> Mapping[Kind, Keep]:
    """How long archives are kept. The keys' own, shorter time is without exception but for the newest
    archive: what was erased must be gone once it is over.
    """
    last = settings.backups_kept
    return {
        "data": Keep(last=last, days=settings.backup_days),
        "data-keys": Keep(last=last, days=settings.backup_keys_days, verified=False),
    }


def archives_of(settings: Settings, now: Callable[[], datetime]) -> FolderArchives:
    """The archives of the platform on a data folder."""
    data_dir = Path(settings.data_dir)
    return FolderArchives(
        folder_of(data_dir, settings.backup_dir),
        FileMasterKey(data_dir / MASTER_KEY),
        {kind: _source(data_dir / FILES[kind]) for kind in KINDS},
        release=version(),
        now=now,
    )


def told_of(archives: FolderArchives, settings: Settings) -> Backups:
    """What operators are told of them."""
    data_dir = Path(settings.data_dir).absolute()
    return Backups(
        archives=archives,
        place=str(folder_of(data_dir, settings.backup_dir).absolute()),
        master_key=str(data_dir / MASTER_KEY),
    )


def _source(path: Path) -> Source:
    log = path.with_name(f"{path.name}-wal")
    return Source(copy=partial(copy, path), size=lambda: _size(path) + _size(log))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def verify(folder: Path, master_key: Path, backup_id: str | None, now: datetime) -> Proof:
    """Restores a backup, or the newest one, into a scratch folder, and proves that it can be used.

    Raises `Invalid` with what is wrong. That it was verified is noted beside it.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-verify-") as scratch:
        proof, used = await _bring_back(folder, _key(master_key), backup_id, Path(scratch))
    for manifest in used:
        await asyncio.to_thread(note_verified, place_of(folder, manifest.kind, manifest.backup_id), now)
    return proof


async def restore(
    folder: Path, backup_id: str | None, target: Path, master_key: Path | None, data_keys: Path | None
) -> Proof:
    """Brings a backup, or the newest one, back into a new data folder, proven like `verify` does before
    anything has its name there.

    The data keys are those of the newest archive of them, or of the file `data_keys` of a platform that is
    gone: what was erased after the backup stays erased. Raises `Invalid` where the target is not empty.
    """
    _check_unused(target)
    with ExitStack() as stack, mapped(target):
        _close_to_others(target)
        place = DataFolder(target)
        place.prepare()
        place.lock()
        stack.callback(place.unlock)
        if master_key is not None:
            _bring_key(_key(master_key), target / MASTER_KEY)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".restore-", dir=target)))
        proof, _ = await _bring_back(folder, _key(target / MASTER_KEY), backup_id, scratch, data_keys)
        for kind in reversed(KINDS):  # the data last: without keys they would get new ones
            (scratch / FILES[kind]).rename(target / FILES[kind])
        sync_folder(target)
    return proof


def _check_unused(target: Path) -> None:
    used = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
    if left := [name for name in used if name not in MAY_BE_THERE]:
        raise Invalid(
            f"{target} is not empty ({', '.join(left[:3])}), and a restore overwrites nothing. Name a new "
            "folder by --data-dir."
        )


def _close_to_others(target: Path) -> None:
    """Who puts the master key into a folder made for it need not think of modes."""
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.chmod(0o700)
    if (target / MASTER_KEY).exists():
        (target / MASTER_KEY).chmod(0o600)


def _key(path: Path) -> Path:
    if not path.is_file():  # one that is missing would be made
        raise Invalid(f"There is no master key at {path}. Name your copy of it: --master-key.")
    return path


def _bring_key(source: Path, target: Path) -> None:
    FileMasterKey(source)  # what is none is refused
    key = source.read_text(encoding="ascii").strip()
    if target.exists() and target.read_text(encoding="ascii", errors="replace").strip() != key:
        raise Invalid(f"{target} is another master key than {source}. Name a new folder by --data-dir.")
    write(target, key)


async def _bring_back(
    folder: Path, master_key: Path, backup_id: str | None, scratch: Path, data_keys: Path | None = None
) -> tuple[Proof, list[Manifest]]:
    """Both files in the scratch folder, proven; and the manifests of the archives they came from."""
    seal = FileMasterKey(master_key)
    data = await _manifest(folder, "data", _chosen(folder, backup_id), seal)
    used = [data]
    if data_keys is None:
        used.append(await _newest_keys(folder, data, seal))
    else:
        await asyncio.to_thread(_copy_keys, data_keys, scratch / FILES["data-keys"])
    for manifest in used:
        await asyncio.to_thread(_unpack, folder, manifest, scratch / FILES[manifest.kind])
    return await _prove(data, seal, scratch), used


def _chosen(folder: Path, backup_id: str | None) -> str:
    found = names(folder, "data")
    if not found:
        raise Invalid(f"There is no backup in {folder}. Name the folder they lie in: --from.")
    if backup_id is not None and backup_id not in found:
        raise Invalid(f"There is no backup {backup_id} in {folder}. The newest one is {found[-1]}.")
    return backup_id or found[-1]


async def _newest_keys(folder: Path, data: Manifest, seal: FileMasterKey) -> Manifest:
    """The newest archive of keys, whichever backup it belongs to: keys are only ever added and erased, so it
    has all that the data need, and none that was erased by then.
    """
    found = [await _manifest(folder, "data-keys", name, seal) for name in names(folder, "data-keys")]
    newest = max(found, key=lambda manifest: manifest.taken_at, default=None)
    if newest is None or newest.taken_at < data.taken_at:
        lacking = f"is that of {newest.backup_id}" if newest else "is missing"
        raise Invalid(
            f"The newest archive of data keys {lacking}, and bodies sealed since would not open. Take an "
            "older backup, or name the file of data keys of the platform itself: --data-keys."
        )
    return newest


async def _manifest(folder: Path, kind: Kind, backup_id: str, seal: FileMasterKey) -> Manifest:
    return await manifest_of(folder, kind, backup_id, seal, len(SCHEMAS[kind].steps))


def _copy_keys(source: Path, target: Path) -> None:
    if not source.is_file():
        raise Invalid(f"There is no file of data keys at {source}.")
    schema = copy(source, target).schema
    if schema > len(DATA_KEYS.steps):
        raise Invalid(
            f"{source} was written by a newer release of Penstock. Use that release, or a later one."
        )


def _unpack(folder: Path, manifest: Manifest, target: Path) -> None:
    unpack(place_of(folder, manifest.kind, manifest.backup_id), manifest.file, target)
    check_file(target, manifest.contents)


async def _prove(data: Manifest, master: FileMasterKey, scratch: Path) -> Proof:
    path = scratch / FILES["data"]
    await asyncio.to_thread(check_books, path)
    keys = Snapshot(scratch / FILES["data-keys"])
    for tenant, wrapped in keys.wrapped.items():
        await master.unwrap(tenant, wrapped)
    readable = await check_bodies(path, keys.erased, Sealer(master, keys).open)
    return Proof(
        backup_id=data.backup_id,
        taken_at=data.taken_at,
        release=data.release,
        rows=data.contents.rows,
        books=data.contents.books,
        tenants=len(keys.wrapped),
        bodies=readable.bodies,
        erased=readable.erased,
    )
