"""Which archives nobody needs any more."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

from events.words import Record
from functions.backup.manifest import Archive


class Keep(Record):
    """The newest `last` archives are kept, and of every UTC day the newest one, all of them for `days`.

    Beyond that the newest archive always stays and, where `verified` says so, the newest that was verified.
    """

    last: int
    days: int
    verified: bool = True


def superfluous(archives: Iterable[Archive], keep: Keep, now: datetime) -> list[Archive]:
    """Those archives of one kind that go, oldest first."""
    newest_first = sorted(archives, key=lambda archive: (archive.taken_at, archive.backup_id), reverse=True)
    kept = {archive.backup_id for archive in _kept(newest_first, keep, now)}
    return [archive for archive in reversed(newest_first) if archive.backup_id not in kept]


def _kept(newest_first: Sequence[Archive], keep: Keep, now: datetime) -> list[Archive]:
    oldest = now - timedelta(days=keep.days)
    young = [archive for archive in newest_first if archive.taken_at >= oldest]
    days: dict[date, Archive] = {}
    for archive in young:
        days.setdefault(archive.taken_at.astimezone(UTC).date(), archive)
    verified = [archive for archive in newest_first if keep.verified and archive.verified_at is not None]
    return [*newest_first[:1], *verified[:1], *young[: keep.last], *days.values()]
