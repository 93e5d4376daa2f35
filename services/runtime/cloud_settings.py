"""Where in the cloud a process works: what the platform itself sets in the environment, and what we do."""

import os
from collections.abc import Mapping
from pathlib import Path

from events.words import Invalid, Record

# What the platforms and Google's own tools call them, and what they are here.
GIVEN = {
    "GOOGLE_CLOUD_PROJECT": "project",
    "PUBSUB_EMULATOR_HOST": "pubsub_emulator",
    "FIRESTORE_EMULATOR_HOST": "firestore_emulator",
    "PENSTOCK_DATABASE": "database",
    "PENSTOCK_KEYS_DATABASE": "keys_database",
    "PENSTOCK_MASTER_KEY_FILE": "master_key_file",
    "PENSTOCK_ADMIN_KEY_HASH": "admin_key_hash",
    "PENSTOCK_BACKUP_BUCKET": "backup_bucket",
}


class CloudSettings(Record):
    """`project` holds everything. `database` and `keys_database` are Firestore database ids, for data and for
    wrapped data keys. `master_key_file` wraps those, mounted from Secret Manager. `admin_key_hash` is the
    SHA-256 of the operators' key, in hex. Backups go to `backup_bucket` (`gs://...`). An emulator is a
    `host:port`.
    """

    project: str
    master_key_file: str
    database: str = "(default)"
    keys_database: str = "data-keys"
    admin_key_hash: str = ""
    backup_bucket: str = ""
    pubsub_emulator: str | None = None
    firestore_emulator: str | None = None


def read_cloud_settings(environment: Mapping[str, str] | None = None) -> CloudSettings:
    """The settings in the environment. Raises `Invalid` naming what is missing."""
    environment = os.environ if environment is None else environment
    found = {name: value for variable, name in GIVEN.items() if (value := environment.get(variable))}
    for variable in ("GOOGLE_CLOUD_PROJECT", "PENSTOCK_MASTER_KEY_FILE"):
        if GIVEN[variable] not in found:
            raise Invalid(f"{variable} is not set; a process in the cloud needs it.")
    if not Path(found["master_key_file"]).is_file():
        raise Invalid(f"PENSTOCK_MASTER_KEY_FILE: there is no file {found['master_key_file']}.")
    bucket = found.get("backup_bucket", "gs://")
    if not bucket.startswith("gs://"):
        raise Invalid(f"PENSTOCK_BACKUP_BUCKET is {bucket!r}; use a bucket such as gs://acme-backups.")
    return CloudSettings(**found)
