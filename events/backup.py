"""What is said about copies of what the platform keeps."""

from datetime import datetime
from typing import ClassVar

from events.envelope import Event


class BackupCompleted(Event):
    """The data and the wrapped data keys were copied into an archive each.

    `backup_id`: names both archives. `taken_at`: the moment the copy of the data shows. `data_bytes`: what
    the archive of the data takes. `data_keys_bytes`: what that of the keys takes.
    """

    about: ClassVar[str] = "backup_id"

    backup_id: str
    taken_at: datetime
    data_bytes: int
    data_keys_bytes: int


class BackupFailed(Event):
    """No backup could be written; the next one is tried when it is due.

    `backup_id`: the name it would have had. `reason`: a sentence for people.
    """

    about: ClassVar[str] = "backup_id"

    backup_id: str
    reason: str
