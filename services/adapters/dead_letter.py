"""What becomes of a message nobody could handle."""

from datetime import datetime

from events.bus import Message
from events.words import Record


class DeadLetter(Record):
    """A message that was given up: by which subscription, when and why; `id` is its own."""

    id: str
    subscription: str
    reason: str
    dead_at: datetime
    message: Message
