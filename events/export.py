"""Renders the contract for other readers: `catalog.json`, a JSON Schema of every event, `docs/events.md`."""

import json
from typing import Any

import msgspec
from msgspec.inspect import DateTimeType, StructType

from events.answer import AnswerReady
from events.catalog import (
    EVENTS,
    JOBS,
    KNOWN,
    EventRow,
    Job,
    Subscription,
    answers_topic,
    ingest_subscription,
    subscriptions,
)
from events.envelope import PREFIX, Event, type_of
from events.reference import meaning, paragraphs, reference, structs

SCHEMAS = "events/schemas"


def render() -> dict[str, str]:
    """Every exported file: its path from the repository's root, and its text."""
    schemas = {f"{SCHEMAS}/{name}.json": _json(schema_of(event)) for name, event in KNOWN.items()}
    return {"events/catalog.json": _json(catalog()), "docs/events.md": reference()} | schemas


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def catalog() -> dict[str, Any]:
    """The choreography as plain data, for what makes topics, subscriptions and schedules of it."""
    return {
        "events": [_event(row) for row in EVENTS],
        "subscriptions": [_subscription(subscription) for subscription in subscriptions()],
        "ingest": _subscription(ingest_subscription("{tenant}")),
        "answers": {"topic": answers_topic("{tenant}"), "type": type_of(AnswerReady)},
        "jobs": [_job(job) for job in JOBS],
    }


def _event(row: EventRow) -> dict[str, Any]:
    name = type_of(row.event)
    return {
        "type": name,
        "topic": row.topic,
        "schema": f"schemas/{name}.json",
        "producers": list(row.producers),
        "consumers": list(row.consumers),
        "retention_days": row.retention_days,
    }


def _subscription(subscription: Subscription) -> dict[str, Any]:
    return {
        "name": subscription.name,
        "topic": subscription.topic,
        "consumer": subscription.consumer,
        "retry": msgspec.structs.asdict(subscription.retry),
        "dead_letter_topic": subscription.dead_letter_topic,
    }


def _job(job: Job) -> dict[str, Any]:
    """How it is retried, its subscription says."""
    told = msgspec.structs.asdict(job)
    del told["retry"]
    return told | {"topic": job.topic}


def schema_of(event: type[Event]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of an event's body."""
    _, parts = msgspec.json.schema_components((event,), ref_template="#/$defs/{name}")
    for struct in structs(event):
        _complete(parts[struct.cls.__name__], struct)
    own = parts.pop(event.__name__)
    name = type_of(event)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:penstock:event:{name.removeprefix(PREFIX)}",
        **own,
        "title": name,
    }
    return schema | ({"$defs": parts} if parts else {})


def _complete(schema: dict[str, Any], struct: StructType) -> None:
    """Adds what msgspec leaves out: what fields mean, and that times are whole ones with a zone."""
    schema["description"] = " ".join(paragraphs(struct.cls))
    for field in struct.fields:
        found = schema["properties"][field.encode_name]
        if isinstance(field.type, DateTimeType):
            found["format"] = "date-time"
        if told := meaning(struct.cls, field.name):
            found["description"] = told
