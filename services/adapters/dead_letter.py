"""What becomes of a message nobody could handle."""

from datetime import datetime, timedelta

from events.bus import Message
from events.words import Record

# As long as Pub/Sub keeps any message: who mends what is wrong has a month for it.
KEPT = timedelta(days=31)


class DeadLetter(Record):
    """A message that was given up: by which subscription, when and why; `id` is its own.

    It is forgotten when it has been dead for `KEPT`.
    """

    id: str
    subscription: str
    reason: str
    dead_at: datetime
    message: Message
