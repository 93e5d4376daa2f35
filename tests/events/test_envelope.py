import contextlib
from datetime import UTC, datetime, timedelta, timezone
from typing import ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.bus import message_of, topic_by_type
from events.catalog import KNOWN
from events.envelope import Envelope, Event, decode, derive, format_time, parse_time, type_of, wrap
from events.inference import InferenceCompleted, InferenceRequested
from events.jobs import JobDue
from events.reference import EXAMPLES
from events.usage import UsageRecorded
from events.words import Invalid

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASKED = InferenceRequested(request_id="req_1", tenant="acme", model="gemma", lane="batch")
EVENTS = [event for _, event in EXAMPLES]

token = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-.:/", min_size=1, max_size=40)
moment = st.datetimes(
    datetime(1970, 1, 1),
    datetime(2100, 1, 1),
    timezones=st.builds(timezone, st.integers(-14, 14).map(lambda hours: timedelta(hours=hours))),
)


class ModelGoneOffline(Event):
    """Three words, second version."""

    version: ClassVar[int] = 2


def attributes(**changed: str | None) -> dict[str, str]:
    names = {name.replace("_", "-"): value for name, value in changed.items()}
    merged = wrap(ASKED, id="1", source="/router", time=NOON).attributes() | names
    return {name: value for name, value in merged.items() if value is not None}


@pytest.mark.parametrize(
    ("event", "wire_type", "topic"),
    [
        (InferenceCompleted, "penstock.inference.completed.v1", "inference-completed-v1"),
        (UsageRecorded, "penstock.usage.recorded.v1", "usage-recorded-v1"),
        (JobDue, "penstock.job.due.v1", "job-due-v1"),
        (ModelGoneOffline, "penstock.model.gone-offline.v2", "model-gone-offline-v2"),
    ],
)
def test_type_and_topic_follow_from_class_and_version(event: type[Event], wire_type: str, topic: str) -> None:
    assert wire_type == type_of(event)
    assert topic == topic_by_type(wire_type)


@given(st.sampled_from(EVENTS), token, token, moment, token)
def test_what_is_decoded_is_what_was_wrapped(
    event: Event, id: str, source: str, time: datetime, traceparent: str
) -> None:
    said = wrap(event, id=id, source=source, time=time, traceparent=traceparent)
    heard = decode(said.attributes(), said.data, KNOWN)
    assert event == heard.event
    assert time == heard.time
    for name in ("id", "type", "source", "subject", "tenant", "traceparent", "data"):
        assert getattr(said, name) == getattr(heard, name)


@given(st.sampled_from(EVENTS), moment)
def test_attributes_are_text_in_ascii(event: Event, time: datetime) -> None:
    found = wrap(event, id="1", source="/router", time=time).attributes()
    assert all(name.isascii() and value.isascii() for name, value in found.items())


def test_attributes_that_are_empty_are_left_out() -> None:
    said = wrap(JobDue(job="", slot=NOON), id="1", source="/scheduler", time=NOON)
    assert not {"ce-subject", "ce-tenant", "traceparent"} & said.attributes().keys()


def test_subject_and_tenant_come_from_the_event() -> None:
    said = wrap(ASKED, id="1", source="/router", time=NOON)
    assert ("req_1", "acme") == (said.subject, said.tenant)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ce_specversion": None}, "CloudEvents 1.x"),
        ({"ce_specversion": "0.3"}, "CloudEvents 1.x"),
        ({"ce_id": None}, "no ce-id"),
        ({"ce_id": ""}, "no ce-id"),
        ({"ce_type": None}, "no ce-type"),
        ({"ce_source": None}, "no ce-source"),
        ({"ce_time": None}, "no ce-time"),
        ({"ce_time": "yesterday"}, "not an RFC 3339 time"),
        ({"ce_time": "2026-01-01T12:00:00"}, "no time zone"),
        ({"ce_type": "penstock.inference.requested.v9"}, "penstock.inference.requested.v9"),
    ],
)
def test_a_message_that_is_no_event_of_ours_is_refused_with_the_reason(
    changed: dict[str, str | None], reason: str
) -> None:
    with pytest.raises(Invalid, match=reason):
        decode(attributes(**changed), b"{}", KNOWN)


def test_a_minor_version_of_the_specification_is_read() -> None:
    assert "1" == decode(attributes(ce_specversion="1.1"), b"{}", KNOWN).id


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"request_id": 5, "tenant": "t", "model": "m", "lane": "batch"}',
        b'{"request_id": "r", "tenant": "t", "model": "m", "lane": "express"}',
        b'{"request_id": "\xff", "tenant": "t", "model": "m", "lane": "batch"}',
        b'{"later": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ],
    ids=["empty", "null", "list", "no fields", "wrong type", "unknown lane", "not UTF-8", "too deep"],
)
def test_a_body_that_breaks_its_types_promise_is_invalid(body: bytes) -> None:
    heard = decode(attributes(), body, KNOWN)
    with pytest.raises(Invalid, match=r"is not a penstock\.inference\.requested\.v1"):
        _ = heard.event


@given(st.binary(max_size=200))
def test_any_body_is_an_event_or_invalid(body: bytes) -> None:
    heard = decode(attributes(), body, KNOWN)
    with contextlib.suppress(Invalid):
        assert isinstance(heard.event, InferenceRequested)


def test_fields_of_a_later_release_are_passed_over() -> None:
    body = msgspec.json.encode(msgspec.to_builtins(ASKED) | {"colour": "blue"})
    assert ASKED == decode(attributes(), body, KNOWN).event


def consumed(id: str = "1") -> Envelope:
    return wrap(ASKED, id=id, source="/router", time=NOON, traceparent="00-trace")


def test_a_redelivered_event_makes_a_handler_say_the_same_again() -> None:
    first = derive(consumed(), ASKED, index=0, source="/f")
    again = derive(consumed(), ASKED, index=0, source="/f")
    assert message_of(first) == message_of(again)
    assert (NOON, "00-trace") == (first.time, first.traceparent)


def test_derived_ids_differ_by_what_was_consumed_by_type_and_by_index() -> None:
    derived = [
        derive(consumed("1"), ASKED, index=0, source="/f"),
        derive(consumed("2"), ASKED, index=0, source="/f"),
        derive(consumed("1"), ASKED, index=1, source="/f"),
        derive(consumed("1"), JobDue(job="j", slot=NOON), index=0, source="/f"),
    ]
    assert len(derived) == len({envelope.id for envelope in derived})


@given(moment)
def test_times_survive_their_text_form(time: datetime) -> None:
    text = format_time(time)
    assert time == parse_time(text)
    assert text.endswith("Z")


def test_a_message_goes_to_its_events_topic_unless_another_is_named() -> None:
    said = consumed()
    assert "inference-requested-v1" == message_of(said).topic
    assert "job-x" == message_of(said, "job-x").topic
    assert (said.attributes(), said.data) == (message_of(said).attributes, message_of(said).data)
