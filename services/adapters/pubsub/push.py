"""One function behind Pub/Sub's pushes: handle, publish what follows, and only then acknowledge."""

import base64
import binascii
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from events.bus import Message, Publisher
from events.catalog import ingest_subscription
from events.envelope import Envelope, parse_time
from events.words import Invalid, PenstockError, Record, Unavailable
from services.adapters.pubsub.connection import LacksAnOperator
from services.adapters.pubsub.inbox import dead_letter
from services.delivery.handling import Handle, carry_out
from services.jobs.starts import event_of

DONE = 204
AGAIN = 503
FAILED = 500
SUBSCRIPTION = "x-goog-pubsub-subscription-name"
MESSAGE_ID = "x-goog-pubsub-message-id"
PUBLISH_TIME = "x-goog-pubsub-publish-time"
# What Pub/Sub gives up by itself has no reason in its dead letter, and an unwrapped push does not say which
# attempt it is. So what an operator has to mend is put aside before that.
OPERATORS_HAVE = timedelta(hours=1)

Received = Callable[[str, Message], Envelope]

log = logging.getLogger("penstock.push")


class PushedMessage(Record):
    """The message in a wrapped push, as Pub/Sub sends it; what is empty is left out."""

    message_id: str = msgspec.field(name="messageId")
    data: str = ""
    attributes: dict[str, str] = {}
    publish_time: str = msgspec.field(name="publishTime", default="")


class Wrapped(Record):
    """The body of a wrapped push."""

    message: PushedMessage
    subscription: str


_wrapped = msgspec.json.Decoder(Wrapped)


class PushEndpoint:
    """Answers with a status: 204 acknowledges, also what went to the dead letter; 503 and 500 bring the
    message again, until its subscription gives it up. `now` is an aware clock.
    """

    def __init__(
        self, handle: Handle, publisher: Publisher, *, source: str, now: Callable[[], datetime]
    ) -> None:
        self._handle = handle
        self._publisher = publisher
        self._source = source
        self._now = now

    async def internal(self, headers: Mapping[str, str], body: bytes) -> int:
        """An unwrapped push of one of our own events: its attributes are the headers (lower case)."""
        subscription = headers.get(SUBSCRIPTION, "").rpartition("/")[2]
        attributes = {name: value for name, value in headers.items() if _is_ours(name)}
        message = Message(
            topic=subscription.partition(".")[0],
            attributes=attributes,
            data=body,
            id=headers.get(MESSAGE_ID, ""),
        )
        try:
            timed = replace(message, published_at=_time(headers.get(PUBLISH_TIME, "")))
        except Invalid as error:
            return await self._put_aside(subscription, message, str(error))
        return await self._deliver(subscription, timed, lambda: event_of(timed))

    async def ingest(self, tenant: str, body: bytes, received: Received) -> int:
        """A wrapped push of what an app published to its tenant's topic. Attributes of the publisher never
        become headers, and the tenant is the path's, which has to be that of the subscription.
        """
        subscription = ingest_subscription(tenant)
        try:
            message = unwrap(body, subscription.name)
        except Invalid as error:
            log.warning("what was pushed for %s is not taken: %s", tenant, error)
            return AGAIN  # not what this subscription pushes: nothing of ours to put aside
        return await self._deliver(subscription.name, message, lambda: received(tenant, message))

    async def _deliver(self, subscription: str, message: Message, decoded: Callable[[], Envelope]) -> int:
        try:
            await carry_out(decoded(), self._handle, self._publisher, self._source)
        except Invalid as error:
            return await self._put_aside(subscription, message, str(error))
        except LacksAnOperator as error:
            if message.published_at and self._now() - message.published_at > OPERATORS_HAVE:
                return await self._put_aside(subscription, message, str(error))
            log.warning("%s: a message waits: %s", subscription, error)
            return AGAIN
        except PenstockError as error:
            log.info("%s: a message will come again: %s", subscription, error)
            return AGAIN
        except Exception:
            log.exception("%s: the handler failed", subscription)
            return FAILED
        return DONE

    async def _put_aside(self, subscription: str, message: Message, reason: str) -> int:
        """No retry can mend it, or nobody mended it in time: it goes to the dead letter with its reason, and
        is acknowledged.
        """
        log.warning("%s: a message goes to the dead letter: %s", subscription, reason)
        try:
            await self._publisher.publish([dead_letter(message, f"{subscription}.dead", reason)])
        except (Unavailable, Invalid) as error:
            log.warning("%s: the dead letter did not take it: %s", subscription, error)
            return AGAIN
        return DONE


def unwrap(body: bytes, subscription: str) -> Message:
    """The message in a wrapped push. Raises `Invalid` where it is none, or is of another subscription."""
    try:
        pushed = _wrapped.decode(body)
        data = base64.b64decode(pushed.message.data, validate=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error) as error:
        raise Invalid(f"The push is no Pub/Sub message: {error}.") from error
    named = pushed.subscription.rpartition("/")[2]
    if named != subscription:
        raise Invalid(f"The push comes from the subscription {named!r}, not from {subscription!r}.")
    return Message(
        topic=subscription.partition(".")[0],
        attributes=pushed.message.attributes,
        data=data,
        id=pushed.message.message_id,
        published_at=_time(pushed.message.publish_time),
    )


def _time(text: str) -> datetime | None:
    return parse_time(text) if text else None


def _is_ours(name: str) -> bool:
    return name.startswith("ce-") or name in ("content-type", "traceparent")
