"""What a schedule says when it starts something."""

from datetime import datetime
from typing import ClassVar

from events.envelope import Event


class JobDue(Event):
    """A job's time has come.

    `slot`: the scheduled time it stands for.
    """

    about: ClassVar[str] = "job"

    job: str
    slot: datetime
