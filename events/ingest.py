"""What an app says by publishing to its tenant's ingest topic."""

from typing import ClassVar

from events.envelope import Event


class IngestReceived(Event):
    """A message arrived on a tenant's ingest topic. It is made at the edge and never published itself.

    `tenant`: the one the subscription belongs to, never one the message names. `message_id`: the
    publisher's own (`ce-id`), else the bus's. `body`: a chat completion, or an envelope
    `{"url", "body", ...}`. `idempotency_key`: messages with the same one make one request.
    `sealed`: the platform sealed the body (kind "ingest", under `message_id`) before it touched a disk.
    """

    about: ClassVar[str] = "message_id"

    tenant: str
    key_id: str
    message_id: str
    body: bytes
    idempotency_key: str = ""
    sealed: bool = False
