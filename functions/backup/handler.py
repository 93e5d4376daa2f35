"""Has a backup written when its job is due, and thins out those that are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from events.backup import BackupCompleted, BackupFailed
from events.envelope import Envelope, Event
from events.jobs import JobDue
from events.words import Invalid, PenstockError, Unavailable
from functions.backup.manifest import Archive, Kind, backup_id
from functions.backup.retention import Keep, superfluous

JOB = "take-backup"


class Archives(Protocol):
    """Where archives are written."""

    async def take(self, backup_id: str, at: datetime) -> Sequence[Archive] | None:
        """Writes the archives of a backup that is due at `at`, one of each kind, or finds them written;
        None where they are being written still, which this call did not wait for.
        """

    async def kept(self) -> Sequence[Archive]:
        """Every archive that is whole."""

    async def delete(self, archives: Sequence[Archive]) -> None:
        """Deletes archives; those that are gone are passed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the backup function needs. `keep`: for how long, by kind; what is not named is thinned out by
    others, such as the rules of a bucket.
    """

    archives: Archives
    keep: Mapping[Kind, Keep]


async def handle(envelope: Envelope, ports: Ports) -> Sequence[Event]:
    """Takes the backup that is due. That it failed is told and not tried again: the next one is due soon."""
    match envelope.event:
        case JobDue(job="take-backup", slot=slot):
            name = backup_id(envelope.id, slot)
        case _:
            raise Invalid(f"The backup function does not consume {envelope.type} ({envelope.subject}).")
    try:
        taken = await ports.archives.take(name, slot)
    except PenstockError as error:
        return [BackupFailed(backup_id=name, reason=str(error))]
    if taken is None:
        raise Unavailable(f"The backup {name} is still being written.")
    await _thin_out(ports, envelope.time)
    return [_completed(name, {archive.kind: archive for archive in taken})]


async def _thin_out(ports: Ports, now: datetime) -> None:
    archives = await ports.archives.kept() if ports.keep else ()
    for kind, keep in ports.keep.items():
        await ports.archives.delete(
            superfluous((archive for archive in archives if archive.kind == kind), keep, now)
        )


def _completed(name: str, taken: Mapping[Kind, Archive]) -> BackupCompleted:
    data, data_keys = taken["data"], taken["data-keys"]
    return BackupCompleted(
        backup_id=name, taken_at=data.taken_at, data_bytes=data.bytes, data_keys_bytes=data_keys.bytes
    )
