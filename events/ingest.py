"""What an app says by publishing to its tenant's ingest topic."""

from typing import ClassVar

from events.envelope import Event


class IngestReceived(Event):
    """A message arrived on a tenant's ingest topic. It is made at the edge and never published itself.

    The tenant is the one the subscription belongs to, never one the message names. `sealed` bodies
    were sealed by this platform (kind "ingest", id `message_id`) before they touched a disk.
    """

    about: ClassVar[str] = "message_id"

    tenant: str
    key_id: str
    message_id: str
    body: bytes
    idempotency_key: str = ""
    sealed: bool = False
