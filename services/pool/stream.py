"""A streamed answer as it comes from an engine: events to pass on, and what they told."""

import contextlib
from codecs import BOM_UTF8

import msgspec

from events.words import Usage
from services.pool.sse import (
    DONE_DATA,
    DONE_EVENT,
    MAX_EVENT,
    TELLS_USAGE,
    EventBuffer,
    WireUsage,
    before_failure,
    data_of,
    is_plain_event,
    says_done,
    says_something,
    split,
    take_usage,
)

RUNNING = b": usage so far "  # begins a comment of our own: what an engine told beside a part of its answer


def running_usage(usage: bytes) -> bytes:
    """Tells an `EventStream`, and nobody behind it, a usage object of OpenAI's, on one line."""
    return b"%b%b\n\n" % (RUNNING, usage)


class EventStream:
    """Takes an engine's bytes in, gives whole events out; of the usage only what the caller wants of it.

    `usage` is what the engine told last. `begun`: a part of the answer was told, more than who speaks.
    `done`: the answer was told to its end. `failed`: the engine told an error, or what cannot be read, and
    nothing behind it counts.
    """

    __slots__ = (
        "_before", "_buffer", "_events", "_spoken", "_wants_usage", "begun", "done", "failed", "usage",
    )  # fmt: skip

    def __init__(self, *, wants_usage: bool) -> None:
        self._wants_usage = wants_usage
        self._buffer = EventBuffer()
        self._events = 0  # since it began
        self._before = 0  # bytes of events before it began
        self._spoken = False  # one of them was no comment
        self.usage: Usage | None = None
        self.begun = False
        self.done = False
        self.failed = False

    @property
    def unfinished(self) -> int:
        """Bytes of an event that is not whole yet."""
        return self._buffer.size

    @property
    def tokens(self) -> int:
        """Our own count: a token an event, but for [DONE] and those before the answer began."""
        return max(0, self._events - self.done)

    def feed(self, data: bytes) -> bytes:
        """The events that are whole with this. Raises `ValueError` where one, or what is before the answer,
        does not end.
        """
        if self.begun and not self._buffer.size and is_plain_event(data):  # nearly always
            self._events += 1
            return data
        events = self._buffer.feed(data)
        return self._read(events) if events else b""

    def end(self) -> bytes:
        """What there is to pass on when no more bytes come: some engines close right behind [DONE]."""
        return self._read(DONE_EVENT) if says_done(self._buffer.rest) else b""

    def _read(self, events: bytes) -> bytes:
        if not self.begun:
            events = events.removeprefix(BOM_UTF8)  # most clients would not see the first event behind it
        if RUNNING in events:
            events = self._without_running(events)
        events, self.failed = before_failure(events)
        if b'"usage"' in events and TELLS_USAGE.search(events):
            events, usage = take_usage(events, keep=self._wants_usage)
            self.usage = usage or self.usage
        if not self.begun:
            self._begin(split(events))
        else:
            self._events += events.count(b"data:")
        if self.begun and says_done(events):
            self.done = True
        return events

    def _without_running(self, events: bytes) -> bytes:
        kept = []
        for event in split(events):
            if not event.startswith(RUNNING):
                kept.append(event)
                continue
            with contextlib.suppress(ValueError, RecursionError):
                self.usage = msgspec.json.decode(event[len(RUNNING) :], type=WireUsage).usage()
        return b"".join(kept)

    def _begin(self, events: list[bytes]) -> None:
        """Looks for the first event that tells something. An answer may also end without one, but not without
        any event.
        """
        for place, data in enumerate(map(data_of, events)):
            if says_something(data) or (self._spoken and data == DONE_DATA):
                self.begun = True
                self._events = sum(b"data:" in event for event in events[place:])
                return
            self._spoken = self._spoken or bool(data)
        self._before += sum(map(len, events))
        if self._before > MAX_EVENT:
            raise ValueError(f"no answer begins within {MAX_EVENT} bytes")
