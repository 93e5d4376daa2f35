"""Spans of publishing and handling: of sampled calls only, and nothing else changes."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from events.bus import Message
from events.envelope import Envelope, Event, wrap
from events.inference import InferenceRouted
from events.words import Unavailable
from services.delivery.handling import carry_out
from services.telemetry.events import TracedPublisher, traced
from services.telemetry.spans import Span, Tracer

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALL = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{CALL}-01"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROUTED = InferenceRouted(
    request_id="req_1", tenant="acme", model="gemma", lane="batch", backend="pool", deadline_at=NOON
)


class Bus:
    """Keeps what was published, unless it is away."""

    def __init__(self) -> None:
        self.said: list[Message] = []
        self.away = False

    async def publish(self, messages: Sequence[Message]) -> None:
        if self.away:
            raise Unavailable("The bus is away.")
        self.said += messages


def came(traceparent: str) -> Envelope:
    return wrap(ROUTED, id="e1", source="/router", time=NOON, traceparent=traceparent)


async def emits(envelope: Envelope) -> Sequence[Event]:
    return [ROUTED]


async def fails(envelope: Envelope) -> Sequence[Event]:
    raise Unavailable("The store is away.")


async def test_handling_and_what_follows_are_spans_of_the_call() -> None:
    spans, bus = list[Span](), Bus()
    tracer = Tracer(spans.append)
    handle = traced(emits, tracer, "routing")
    await carry_out(came(SAMPLED), handle, TracedPublisher(bus, tracer), "/functions/routing")

    assert [
        ("process routing penstock.inference.routed.v1", "consumer", ""),
        ("send inference-routed-v1", "producer", ""),
    ] == [(span.name, span.kind, span.error) for span in spans]
    assert {(TRACE, CALL)} == {(span.context.trace_id, span.parent) for span in spans}
    assert "e1" == spans[0].attributes["messaging.message.id"]


async def test_what_is_emitted_is_the_same_however_often_it_is_delivered() -> None:
    plain, bus = Bus(), Bus()
    tracer = Tracer(list[Span]().append)
    await carry_out(came(SAMPLED), emits, plain, "/functions/routing")
    for _ in range(2):
        handle = traced(emits, tracer, "routing")
        await carry_out(came(SAMPLED), handle, TracedPublisher(bus, tracer), "/functions/routing")

    assert [*plain.said, *plain.said] == bus.said


@pytest.mark.parametrize("traceparent", ["", f"00-{TRACE}-{CALL}-00", "junk"])
async def test_what_is_not_sampled_has_no_span(traceparent: str) -> None:
    spans, bus = list[Span](), Bus()
    tracer = Tracer(spans.append)
    await carry_out(came(traceparent), traced(emits, tracer, "routing"), TracedPublisher(bus, tracer), "/x")

    assert ([], 1) == (spans, len(bus.said))


async def test_what_fails_is_raised_and_told() -> None:
    spans, bus = list[Span](), Bus()
    tracer = Tracer(spans.append)
    bus.away = True
    with pytest.raises(Unavailable):
        await carry_out(came(SAMPLED), traced(fails, tracer, "routing"), bus, "/x")
    with pytest.raises(Unavailable):
        await carry_out(came(SAMPLED), emits, TracedPublisher(bus, tracer), "/x")

    assert ["Unavailable", "Unavailable"] == [span.error for span in spans]
