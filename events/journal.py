"""The journal of a response that is made in the background: what was told of it, read by every room."""

from datetime import datetime

from events.words import Record

# The events created, queued and in_progress have the numbers below; they follow from the request, so that
# they can be told at once, and stand in no journal.
OPENING = 3
LARGEST_ENTRY = 256 * 1024  # sealed bytes that lie in an entry itself


class Entry(Record):
    """One step of a journal: events of the response, whole and in their order, sealed.

    A journal is one row of places from 0 on, without a gap; a place is taken once. So whoever writes the
    next place has seen all before it, and whoever comes too late learns that somebody else goes on.

    `attempt`: whose events they are. `first`, `next`: the sequence numbers of the first event here and of the
    first behind; the same where there is none. `closed`: the attempt says nothing more. `sealed`: the events
    as server-sent ones, with kind "events"; empty where they are too large for an entry, and lie in the body
    store under `body_id`.
    """

    request: str
    place: int
    attempt: int
    first: int
    next: int
    expire_at: datetime
    closed: bool = False
    sealed: bytes = b""
    body_id: str = ""


def body_id_of(request: str, place: int) -> str:
    """What the events of an entry are sealed for, and where they lie if that is elsewhere."""
    return f"{request}-events-{place}"
