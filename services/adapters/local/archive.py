"""One archive on the disk: a folder with a compressed copy of a database, and the sealed manifest of it."""

import gzip
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from events.envelope import format_time, parse_time
from events.words import Invalid, Unavailable
from functions.backup import manifest as manifests
from functions.backup.manifest import Archive, File, Kind, Manifest
from services.adapters.local.draft import sync_folder

MANIFEST = "manifest.json"
VERIFIED = "verified"
SEALED_AS = "backup manifest"  # no tenant's id has a space, so no wrapped data key can pass for a seal

_CHUNK = 1024 * 1024
_LEVEL = 1  # most of what takes room is sealed and gets no smaller
_USELESS = "Move its folder away and take the backup before it"


class Seal(Protocol):
    """The master key, which is in no archive."""

    async def wrap(self, tenant: str, data_key: bytes) -> bytes:
        """The wrapped form of some bytes, bound to a name."""

    async def unwrap(self, tenant: str, wrapped: bytes) -> bytes:
        """Those bytes; raises `Invalid` where another master key wrapped them."""


def place_of(folder: Path, kind: Kind, backup_id: str) -> Path:
    """Where an archive lies in a folder of archives."""
    return folder / kind / backup_id


# --- writing


def pack(raw: Path, packed: Path, stopped: Callable[[], bool]) -> File:
    """Compresses a file into another one, durably. Blocks the thread; `Unavailable` once it is stopped."""
    with raw.open("rb") as reading, _owners(packed) as writing:
        with gzip.GzipFile("", "wb", _LEVEL, writing, mtime=0) as stream:
            while chunk := reading.read(_CHUNK):
                if stopped():
                    raise Unavailable("The backup was stopped.")
                stream.write(chunk)
        _sync(writing)
    return File(name=packed.name, bytes=packed.stat().st_size, sha256=_sha256(packed))


async def seal_of(body: bytes, seal: Seal) -> bytes:
    """The document of a manifest: its bytes, and their digest wrapped by the master key."""
    return manifests.sealed(body, await seal.wrap(SEALED_AS, manifests.digest(body)))


def publish(draft: Path, document: bytes, place: Path) -> None:
    """A draft gets its manifest and becomes an archive: whole, or not at all. Blocks the thread."""
    write_durably(draft / MANIFEST, document)
    sync_folder(draft)
    draft.rename(place)
    sync_folder(place.parent)


def note_verified(place: Path, at: datetime) -> None:
    """Notes that an archive was proven whole. Raises `Unavailable` where nothing can be written there."""
    with mapped(place):
        write_durably(place / f".{VERIFIED}", f"{format_time(at)}\n".encode())
        (place / f".{VERIFIED}").replace(place / VERIFIED)


def write_durably(path: Path, content: bytes) -> None:
    """A file only its owner may read."""
    with _owners(path) as file:
        file.write(content)
        _sync(file)


def _owners(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)  # Windows has the last one
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


# --- reading


def told_by(manifest: Manifest, place: Path | None = None) -> Archive:
    """An archive as lists show it; `place`: where it may be noted that it was verified."""
    return Archive(
        kind=manifest.kind,
        backup_id=manifest.backup_id,
        taken_at=manifest.taken_at,
        bytes=manifest.file.bytes,
        verified_at=None if place is None else _verified_at(place),
    )


def _verified_at(place: Path) -> datetime | None:
    try:
        return parse_time((place / VERIFIED).read_text().strip())
    except (OSError, ValueError, Invalid):
        return None


def document_in(place: Path) -> bytes:
    """The sealed manifest. Raises `Invalid` where it cannot be read."""
    try:
        return (place / MANIFEST).read_bytes()
    except OSError as error:
        raise Invalid(f"{place / MANIFEST} cannot be read ({error.strerror}). {_USELESS}.") from error


async def authentic(document: bytes, seal: Seal, path: Path) -> Manifest:
    """The manifest in a document. Raises `Invalid` where the master key did not seal it as it is."""
    try:
        body, wrapped = manifests.unsealed(document)
        manifest = manifests.decode(body)
    except Invalid as error:
        raise Invalid(f"{path}: {error}.") from error
    try:
        digest = await seal.unwrap(SEALED_AS, wrapped)
    except (Invalid, ValueError) as error:  # too short to be anything wrapped
        raise Invalid(
            f"{path} was not sealed by this master key. Name the one it was sealed by: --master-key."
        ) from error
    if digest != manifests.digest(body):
        raise Invalid(f"{path} was altered after it was sealed. {_USELESS}.")
    return manifest


async def manifest_of(folder: Path, kind: Kind, backup_id: str, seal: Seal, known_schema: int) -> Manifest:
    """The manifest of an archive, proven to be its own and readable by this release. Raises `Invalid`."""
    place = place_of(folder, kind, backup_id)
    manifest = await authentic(document_in(place), seal, place / MANIFEST)
    if (manifest.kind, manifest.backup_id) != (kind, backup_id):
        raise Invalid(
            f"{place / MANIFEST} is the manifest of another backup ({manifest.kind}/{manifest.backup_id}). "
            "Put each back where it belongs."
        )
    if manifest.contents.schema > known_schema:
        raise Invalid(
            f"{place} was written by a newer release of Penstock ({manifest.release}: its schema is "
            f"{manifest.contents.schema}, this release knows {known_schema}). Use that release, or a later."
        )
    return manifest


def unpack(place: Path, file: File, target: Path) -> None:
    """Writes what an archive holds to a new file, durably, if it is what its manifest says.

    Raises `Invalid` where it is not, `Unavailable` where nothing can be written. Blocks the thread.
    """
    packed = place / file.name
    _check(packed, file)
    with mapped(target.parent), gzip.open(packed) as reading, _owners(target) as writing:
        shutil.copyfileobj(reading, writing, _CHUNK)
        _sync(writing)


def _check(packed: Path, file: File) -> None:
    if not packed.is_file():
        raise Invalid(f"{packed} is missing. {_USELESS}.")
    size = packed.stat().st_size
    if size != file.bytes:
        change = "cut short" if size < file.bytes else "added to"
        raise Invalid(f"{packed} was {change}: it has {size:,} bytes, not {file.bytes:,}. {_USELESS}.")
    if _sha256(packed) != file.sha256:
        raise Invalid(f"{packed} is damaged or was altered: its checksum does not fit. {_USELESS}.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def mapped(folder: Path) -> Iterator[None]:
    """What a disk cannot do is `Unavailable`."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"Nothing can be kept in {folder}: {error.strerror or error}.") from error
