"""Archives in a folder, `<kind>/<backup id>/` each."""

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from events.words import Conflict, Invalid, Unavailable
from functions.backup import manifest as manifests
from functions.backup.manifest import KINDS, Archive, Contents, Kind, Manifest
from services.adapters.local.archive import (
    MANIFEST,
    Seal,
    authentic,
    document_in,
    mapped,
    pack,
    place_of,
    publish,
    seal_of,
    told_by,
)

DRAFT = ".draft-"
ROOM = 3  # times what is copied: the copy, its compressed form, and as much again for the platform

T = TypeVar("T")
Stopped = Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What archives of a kind are copies of. `copy` writes a new file and asks now and then whether it is
    stopped; `size` is about how many bytes that takes.
    """

    copy: Callable[[Path, Stopped], Contents]
    size: Callable[[], int]


class FolderArchives:
    """The archives of one platform, copied from `sources`; `now` is an aware clock.

    An archive appears whole or not at all, and only its owner may read it. What a process left half
    written is cleared away before the next backup.
    """

    def __init__(
        self,
        folder: Path,
        seal: Seal,
        sources: Mapping[Kind, Source],
        *,
        release: str,
        now: Callable[[], datetime],
    ) -> None:
        self._folder = folder
        self._seal = seal
        self._sources = sources
        self._release = release
        self._now = now
        self._one_at_a_time = asyncio.Lock()

    async def take(self, backup_id: str, at: datetime) -> list[Archive]:
        """Writes both archives of a backup, or finds them written; they show the moment of writing.

        Raises `Unavailable` where there is no room, `Invalid` where what is copied is damaged.
        """
        async with self._one_at_a_time:
            await _in_thread(self._clear)
            return [await self._archive(kind, backup_id) for kind in KINDS]

    async def _archive(self, kind: Kind, backup_id: str) -> Archive:
        place = place_of(self._folder, kind, backup_id)
        if place.exists():
            return await self._written_before(place)
        manifest = await _in_thread(self._write, kind, backup_id)
        document = await seal_of(manifests.encode(manifest), self._seal)
        await _in_thread(self._publish, place, document)
        return told_by(manifest)

    async def _written_before(self, place: Path) -> Archive:
        try:
            return told_by(await authentic(document_in(place), self._seal, place / MANIFEST))
        except Invalid as error:
            raise Conflict(
                f"{place} was not written by this platform. Give every platform a backup folder of its own."
            ) from error

    def _clear(self, stopped: Stopped) -> None:
        with mapped(self._folder):
            for draft in self._folder.glob(f"*/{DRAFT}*"):
                shutil.rmtree(draft)

    def _write(self, kind: Kind, backup_id: str, stopped: Stopped) -> Manifest:
        """A draft, still without its manifest: the copy is made, looked at, compressed, put on the disk."""
        source, draft = self._sources[kind], _draft(place_of(self._folder, kind, backup_id))
        with mapped(self._folder), _gone_if_failed(draft):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._check_room(source.size())
            draft.parent.mkdir(exist_ok=True, mode=0o700)
            draft.mkdir(mode=0o700)
            taken_at, raw = self._now(), draft / "raw"
            contents = source.copy(raw, stopped)
            file = pack(raw, draft / f"{kind}.db.gz", stopped)
            raw.unlink()
        return Manifest(
            backup_id=backup_id,
            kind=kind,
            taken_at=taken_at,
            release=self._release,
            file=file,
            contents=contents,
        )

    def _check_room(self, size: int) -> None:
        """It may be the disk the platform writes to: a backup must not be what fills it."""
        free, needed = shutil.disk_usage(self._folder).free, ROOM * size
        if free < needed:
            raise Unavailable(
                f"A backup in {self._folder} wants {needed:,} bytes to be free, and {free:,} are. Make room, "
                "or name another folder by PENSTOCK_BACKUP_DIR."
            )

    def _publish(self, place: Path, document: bytes, stopped: Stopped) -> None:
        with mapped(self._folder), _gone_if_failed(_draft(place)):
            publish(_draft(place), document, place)

    async def kept(self) -> list[Archive]:
        """Every archive whose manifest can be read, oldest first; nothing is proven of them here."""
        return await asyncio.to_thread(self._kept)

    def _kept(self) -> list[Archive]:
        found = [archive for kind in KINDS for archive in _archives(self._folder / kind)]
        return sorted(found, key=lambda archive: (archive.backup_id, archive.kind))

    async def delete(self, archives: Sequence[Archive]) -> None:
        """Deletes archives; those that are gone are passed over. Raises `Unavailable`."""
        await _in_thread(self._delete, archives)

    def _delete(self, archives: Sequence[Archive], stopped: Stopped) -> None:
        with mapped(self._folder):
            for archive in archives:
                place = place_of(self._folder, archive.kind, archive.backup_id)
                if place.exists():
                    # By another name first: what is half gone must not pass for an archive.
                    shutil.rmtree(place.rename(_draft(place)))


def names(folder: Path, kind: Kind) -> list[str]:
    """The backups of which there is an archive, or what is left of one, oldest first."""
    return sorted(place.name for place in (folder / kind).glob("[!.]*"))


def _archives(folder: Path) -> Iterator[Archive]:
    for place in folder.glob("[!.]*"):
        try:
            body, _ = manifests.unsealed(document_in(place))
            yield told_by(manifests.decode(body), place)
        except Invalid:
            continue  # `verify` says what is wrong with it


def _draft(place: Path) -> Path:
    return place.with_name(f"{DRAFT}{place.name}")


async def _in_thread(work: Callable[..., T], *given: object) -> T:
    """Work on a thread that is told where nobody waits for it any more: a process must be able to stop."""
    left = threading.Event()
    try:
        return await asyncio.to_thread(work, *given, left.is_set)
    except asyncio.CancelledError:
        left.set()
        raise


@contextmanager
def _gone_if_failed(draft: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
