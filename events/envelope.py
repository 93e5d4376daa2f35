"""CloudEvents 1.0 in binary mode: `ce-*` attributes and a JSON body, as Pub/Sub carries them."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar

import msgspec

from events.words import Invalid, Record, hashed_id

SPEC_VERSION = "1.0"
PREFIX = "penstock."
CONTENT_TYPE = "application/json"


class Event(Record):
    """Something that happened; subclasses are named in the past tense and hold its facts.

    The wire type and the topic follow from the class name and `version`:
    `InferenceCompleted`, version 1 → `penstock.inference.completed.v1`, `inference-completed-v1`.
    """

    version: ClassVar[int] = 1
    about: ClassVar[str] = ""  # the field that holds the id of what the event is about


def type_of(event_class: type[Event]) -> str:
    """The CloudEvents type of an event class."""
    domain, *what = re.findall(r"[A-Z][a-z0-9]*", event_class.__name__)
    return f"{PREFIX}{domain}.{'-'.join(what)}.v{event_class.version}".lower()


class Envelope:
    """One event as it travels: CloudEvents attributes and the exact bytes of its JSON body.

    `event` is the body as a struct; it is decoded once, when first asked for.
    """

    __slots__ = ("_event", "_event_class", "data", "id", "source", "subject", "tenant", "time", "traceparent",
                 "type")  # fmt: skip

    def __init__(
        self,
        *,
        id: str,
        type: str,
        source: str,
        time: datetime,
        data: bytes,
        event_class: type[Event],
        event: Event | None = None,
        subject: str = "",
        tenant: str = "",
        traceparent: str = "",
    ) -> None:
        self.id = id
        self.type = type
        self.source = source
        self.time = time
        self.data = data
        self.subject = subject
        self.tenant = tenant
        self.traceparent = traceparent
        self._event_class = event_class
        self._event = event

    def __repr__(self) -> str:
        return f"Envelope({self.type} {self.id} subject={self.subject!r})"

    @property
    def event(self) -> Event:
        """The facts. Raises `Invalid` where the body is not what its type promises."""
        if self._event is None:
            try:
                self._event = msgspec.json.decode(self.data, type=self._event_class)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Invalid(f"The body is not a {self.type}: {error}.") from error
        return self._event

    def attributes(self) -> dict[str, str]:
        """The message attributes, ASCII only."""
        found = {
            "ce-specversion": SPEC_VERSION,
            "ce-id": self.id,
            "ce-type": self.type,
            "ce-source": self.source,
            "ce-time": format_time(self.time),
            "content-type": CONTENT_TYPE,
        }
        if self.subject:
            found["ce-subject"] = self.subject
        if self.tenant:
            found["ce-tenant"] = self.tenant
        if self.traceparent:
            found["traceparent"] = self.traceparent
        return found


def wrap(event: Event, *, id: str, source: str, time: datetime, traceparent: str = "") -> Envelope:
    """The envelope of an event. `source` is a URI path such as `/router`; `time` is aware."""
    return Envelope(
        id=id,
        type=type_of(type(event)),
        source=source,
        time=time,
        data=msgspec.json.encode(event),
        event_class=type(event),
        event=event,
        subject=getattr(event, event.about, ""),
        tenant=getattr(event, "tenant", ""),
        traceparent=traceparent,
    )


def derive(consumed: Envelope, event: Event, *, index: int, source: str) -> Envelope:
    """The envelope of the `index`-th event a handler emits for `consumed`: same input, same id and time."""
    emitted = type_of(type(event))
    return wrap(
        event,
        id=hashed_id((consumed.id, emitted, str(index))),
        source=source,
        time=consumed.time,
        traceparent=consumed.traceparent,
    )


def decode(attributes: Mapping[str, str], data: bytes, known: Mapping[str, type[Event]]) -> Envelope:
    """Reads a message. `known` maps wire types to event classes; raises `Invalid` with the reason."""
    version = attributes.get("ce-specversion", "")
    if not version.startswith("1."):
        raise Invalid(f"The message is not a CloudEvents 1.x event (ce-specversion is {version!r}).")
    for required in ("ce-id", "ce-type", "ce-source", "ce-time"):
        if not attributes.get(required):
            raise Invalid(f"The message has no {required}.")
    event_class = known.get(attributes["ce-type"])
    if event_class is None:
        raise Invalid(f"No event of type {attributes['ce-type']!r} is known here.")
    return Envelope(
        id=attributes["ce-id"],
        type=attributes["ce-type"],
        source=attributes["ce-source"],
        time=parse_time(attributes["ce-time"]),
        data=data,
        event_class=event_class,
        subject=attributes.get("ce-subject", ""),
        tenant=attributes.get("ce-tenant", ""),
        traceparent=attributes.get("traceparent", ""),
    )


def format_time(time: datetime) -> str:
    """RFC 3339 in UTC, microseconds, `Z`."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """An aware time from RFC 3339; raises `Invalid`."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid(f"{text!r} is not an RFC 3339 time.") from error
    if time.tzinfo is None:
        raise Invalid(f"{text!r} has no time zone.")
    return time
