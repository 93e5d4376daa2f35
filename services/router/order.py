"""What an exchange is to do, and how long each of its phases may take."""

from dataclasses import dataclass

from events.words import ApiKey, Record
from services.front.call import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long each phase may take, in seconds."""

    connect_s: float = 5.0
    first_byte_s: float = 120.0
    idle_s: float = 60.0
    total_s: float = 900.0
    stalled_client_s: float = 60.0
    progress_every_s: float = 5.0
    answer_bytes: int = 64 * 2**20


class Order(Record):
    """What is to be done: who asks, for which model, where, and what goes over the wire."""

    request_id: str
    attempt: str
    key: ApiKey
    model: str
    backend: str
    path: str
    body: bytes
    stream: bool
    wants_usage: bool
    input_estimate: int
    fields: Fields = b""  # for the engine
    reply_fields: Fields = b""  # for the client
