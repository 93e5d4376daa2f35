"""Archives as the tests of the backup function make them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from functions.backup.manifest import Archive

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def archive(age: timedelta, **fields: Any) -> Archive:
    """One taken so long before noon."""
    taken_at = NOON - age
    name = f"{taken_at:%Y%m%dT%H%M%SZ}-00000000"
    return Archive(**{"kind": "data", "backup_id": name, "taken_at": taken_at, "bytes": 1000} | fields)
