"""Backups of a platform on Google's services: exports into a bucket, where one is named."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime

from events.words import Invalid
from functions.backup.manifest import Archive, Kind
from services.adapters.firestore import export
from services.adapters.firestore.export import FirestoreExports, Place
from services.router.backups import Backups
from services.runtime.cloud_settings import CloudSettings

NO_BUCKET = (
    "PENSTOCK_BACKUP_BUCKET is not set. Name a bucket such as gs://acme-backups, for the backup function and "
    "for the router."
)


class NoBucket:
    """The archives of a platform that has nowhere to put them: asking for them raises `Invalid`."""

    async def take(self, backup_id: str, at: datetime) -> Sequence[Archive] | None:
        """Says what is missing."""
        raise Invalid(NO_BUCKET)

    async def kept(self) -> Sequence[Archive]:
        """Says what is missing."""
        raise Invalid(NO_BUCKET)

    async def delete(self, archives: Sequence[Archive]) -> None:
        """There is nothing to delete."""


def archives_of(place: CloudSettings, stack: AsyncExitStack) -> FirestoreExports | NoBucket:
    """Where backups of both databases go; `stack` closes it. Raises `Unavailable` where this machine has no
    Google identity.
    """
    if not place.backup_bucket:
        return NoBucket()
    api = export.connect(place.firestore_emulator)
    stack.push_async_callback(export.close, api)
    return FirestoreExports(api, place.project, places_of(place))


def places_of(place: CloudSettings) -> Mapping[Kind, Place]:
    """Each database with the folder of its exports."""
    bucket = place.backup_bucket.rstrip("/")
    databases: Mapping[Kind, str] = {"data": place.database, "data-keys": place.keys_database}
    return {kind: Place(database=name, prefix=f"{bucket}/{kind}") for kind, name in databases.items()}


def told_of(archives: FirestoreExports | NoBucket, place: CloudSettings) -> Backups:
    """What operators are told of them."""
    return Backups(
        archives=archives,
        place=place.backup_bucket or "the bucket of the backup function",
        master_key=place.master_key_file,
    )
