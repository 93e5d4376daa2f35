"""Archives in memory: what backups were taken of which sizes, for tests."""

from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec.structs import replace

from functions.backup.manifest import KINDS, Archive, Kind


class MemoryArchives:
    """`size` is how large a copy of a kind is now; `now` is an aware clock."""

    def __init__(self, size: Callable[[Kind], int], now: Callable[[], datetime]) -> None:
        self._size = size
        self._now = now
        self._archives: dict[tuple[str, Kind], Archive] = {}

    async def take(self, backup_id: str, at: datetime) -> list[Archive]:
        """Writes both archives of a backup, or finds them written."""
        return [
            self._archives.setdefault(
                (backup_id, kind),
                Archive(kind=kind, backup_id=backup_id, taken_at=self._now(), bytes=self._size(kind)),
            )
            for kind in KINDS
        ]

    async def kept(self) -> list[Archive]:
        """Every archive, oldest first."""
        return [self._archives[name] for name in sorted(self._archives)]

    async def delete(self, archives: Sequence[Archive]) -> None:
        """Deletes archives; those that are gone are passed over."""
        for archive in archives:
            self._archives.pop((archive.backup_id, archive.kind), None)

    def note_verified(self, archive: Archive, at: datetime) -> None:
        """Notes that an archive was proven whole."""
        name = (archive.backup_id, archive.kind)
        self._archives[name] = replace(self._archives[name], verified_at=at)
