"""Spans of the event path: of publishing and of handling what belongs to a sampled call.

Events carry the context of the call they stem from, not of the last hop: what a handler emits must be the
same whenever it is delivered again. So all these spans are children of that call's.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from events.bus import Message, Publisher
from events.envelope import Envelope
from services.telemetry import names
from services.telemetry.spans import Span, Tracer, Value

SYSTEM = "gcp_pubsub"

T = TypeVar("T")
Handle = Callable[[Envelope], Awaitable[Sequence[T]]]


class TracedPublisher:
    """A `Publisher` before another one."""

    def __init__(self, publisher: Publisher, tracer: Tracer, system: str = SYSTEM) -> None:
        self._publisher = publisher
        self._tracer = tracer
        self._system = system

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `Publisher`."""
        spans = [span for message in messages if (span := self._begun(message)) is not None]
        error = ""
        try:
            await self._publisher.publish(messages)
        except BaseException as failure:
            error = type(failure).__name__
            raise
        finally:
            for span in spans:
                self._tracer.end(span, error)

    def _begun(self, message: Message) -> Span | None:
        parent = message.attributes.get("traceparent")
        if not parent:
            return None
        told = _told(self._system, "send", message.topic, message.attributes.get("ce-id", ""))
        return self._tracer.follow(f"send {message.topic}", "producer", parent, told)


def traced(handle: Handle[T], tracer: Tracer, name: str, system: str = SYSTEM) -> Handle[T]:
    """A handler whose work on sampled calls is told, as `name`'s."""

    async def handled(envelope: Envelope) -> Sequence[T]:
        told = _told(system, "process", envelope.type, envelope.id)
        span = tracer.follow(f"process {name} {envelope.type}", "consumer", envelope.traceparent, told)
        if span is None:
            return await handle(envelope)
        error = ""
        try:
            return await handle(envelope)
        except BaseException as failure:
            error = type(failure).__name__
            raise
        finally:
            tracer.end(span, error)

    return handled


def _told(system: str, operation: str, destination: str, message: str) -> dict[str, Value]:
    return {
        names.MESSAGING_SYSTEM: system,
        names.MESSAGING_OPERATION: operation,
        names.DESTINATION: destination,
        names.MESSAGE_ID: message,
    }
