"""Writes `docs/events.md`: the catalogue for people, with what the docstrings tell about every field."""

import inspect
import re
from collections.abc import Callable, Iterable

import msgspec
from msgspec.inspect import (
    BoolType,
    BytesType,
    DateTimeType,
    FloatType,
    IntType,
    LiteralType,
    NoneType,
    RawType,
    StrType,
    StructType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from events.answer import AnswerReady
from events.catalog import (
    EVENTS,
    JOBS,
    KNOWN,
    EventRow,
    Job,
    Retry,
    answers_topic,
    ingest_subscription,
    subscriptions,
)
from events.envelope import Event, type_of, wrap
from events.examples import EXAMPLES, NOON
from events.ingest import IngestReceived
from events.jobs import JobDue
from events.words import hashed_id

# What a field means where its own class does not say more.
SHARED = {
    "attempt": "The billing identity of one call to a backend: `<request>.<number>`.",
    "at": "When it happened.",
    "backend": "Where the model is served.",
    "cached": "Of the input, what the engine did not have to read again.",
    "input": "Tokens of the prompt.",
    "job": "The name of the job.",
    "key": "The public id of the API key that pays.",
    "key_id": "The public id of the API key that acts.",
    "lane": "How urgent it is.",
    "model": "The name the caller used.",
    "output": "Tokens of the completion.",
    "reasoning": "Of the output, what the model thought and did not show.",
    "request": "The request the attempt was made for.",
    "request_id": "The request.",
    "tenant": "The id of who pays.",
    "usage": "Token counts.",
}

_INTRODUCTION = """# Events

<!-- Made by `python -m services.cli.export` from `events/`. Change it there. -->

What the parts of Penstock say to each other. An event is a CloudEvent 1.0 in binary mode: its attributes
travel beside its body (as message attributes on a bus, as headers over HTTP), the body is JSON. The same
for machines: [catalog.json](../events/catalog.json) and [schemas](../events/schemas).

## Attributes

All are ASCII.

| attribute | always | meaning |
| --- | --- | --- |
| `ce-specversion` | yes | `1.0` |
| `ce-id` | yes | Names the event: two messages with the same id say the same thing once. |
| `ce-type` | yes | Such as `penstock.inference.completed.v1`; its last part is the version. |
| `ce-source` | yes | Which part of Penstock speaks, such as `/router`. |
| `ce-time` | yes | When it was first said: RFC 3339, UTC. |
| `ce-subject` | no | The id of what the event is about. |
| `ce-tenant` | no | The id of who pays. |
| `traceparent` | no | W3C Trace Context, carried from event to event. |
| `content-type` | yes | `application/json` |

## How ids are made

Ids make redelivery harmless: whoever says the same thing again says it under the same id.

- A function gives the events it emits the id *hash(consumed id, emitted type, index)*, and the time of the
  event it consumed. Handling that one again emits identical events.
- What is owed for a queued request, its answer on a topic included, has the id *hash(request id, attempt
  number, type)*, whoever says it.
- An id is random only where something new enters the platform: a request, or a schedule's start. Of several
  starts for one slot the first to claim it runs, and the others do nothing.
- A page of usage records keeps the id it was sealed with, however often it is published.

*hash* is the first 32 hex digits of the SHA-256 of the parts, joined by U+001F.

## Delivery

Every event is delivered at least once, in no promised order. A message that was not acknowledged comes again
after a pause that doubles. After its last attempt, or at once where no retry can mend it, it goes to the
dead letter topic of its subscription: `<topic>.<consumer>.dead`."""


_JOBS = """A schedule starts a job by saying `{type}` on the job's topic. The schedule has the five
fields of cron (minute, hour, day of month, month, day of week) and goes by the clock of its zone. A time that
this clock skips in spring is made up for right after the gap, and a time that comes twice in autumn counts
once; where the minute or the hour begins with `*`, the clock is followed as it goes. What is to happen more
often than every minute does so only where our own scheduler runs: the finest step of Cloud Scheduler is a
minute.

A slot is run once, by whoever claims it first. Where nothing could run, the slots that passed are recorded as
missed, and only the latest is made up for, as long as the next one is not due."""


def reference() -> str:
    """The text of `docs/events.md`."""
    rows = {row.event: row for row in EVENTS}
    sections = [_section(event, rows.get(event)) for event in KNOWN.values()]
    return "\n\n".join([_INTRODUCTION, _jobs(), *sections]) + "\n"


def structs(event: type[Event]) -> list[StructType]:
    """An event's struct and all those it is made of, each once, in reading order."""
    found: dict[type, StructType] = {}
    _collect(type_info(event), found)
    return list(found.values())


def paragraphs(described: type) -> list[str]:
    """A docstring's paragraphs, each in one line."""
    text = inspect.cleandoc(described.__doc__ or "")
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def meaning(described: type, field: str) -> str:
    """What a field means: the sentences of its class's docstring that begin with its name in backticks,
    else what it means everywhere.
    """
    sentences = (
        sentence
        for paragraph in paragraphs(described)
        for sentence in re.split(r"(?<=[.)]) (?=[A-Z`])", paragraph)
        if sentence.startswith(f"`{field}`")
    )
    told = " ".join(sentence.removeprefix(f"`{field}`: ") for sentence in sentences)
    return told[:1].upper() + told[1:] or SHARED.get(field, "")


def _collect(kind: Type, found: dict[type, StructType]) -> None:
    match kind:
        case StructType() if kind.cls not in found:
            found[kind.cls] = kind
            for field in kind.fields:
                _collect(field.type, found)
        case UnionType():
            for member in kind.types:
                _collect(member, found)
        case VarTupleType():
            _collect(kind.item_type, found)


def _jobs() -> str:
    rows = ((f"`{job.name}`", _schedule(job), f"`{job.topic}`", job.consumer, job.purpose) for job in JOBS)
    table = _table(("job", "schedule", "topic", "consumer", "what it does"), rows)
    return f"## Jobs\n\n{_JOBS.format(type=type_of(JobDue))}\n\n{table}"


def _schedule(job: Job) -> str:
    often = f", every {job.every_s:g} s" if job.every_s else ""
    late = f", at most {job.late_s:g} s late" if job.late_s else ""
    return f"`{job.schedule}` {job.zone}{often}{late}"


def _section(event: type[Event], row: EventRow | None) -> str:
    name = type_of(event)
    told = "\n\n".join(paragraphs(event))
    facts = _of_row(row) if row else _BESIDE[event]()
    facts["schema"] = f"[{name}.json](../events/schemas/{name}.json)"
    listed = "\n".join(f"- **{what}**: {value}" for what, value in facts.items())
    parts = "\n\n".join(_part(struct, event) for struct in structs(event))
    return f"## `{name}`\n\n{told}\n\n{listed}\n\n{parts}\n\n{_example(event)}"


def _of_row(row: EventRow) -> dict[str, str]:
    facts = {
        "topic": f"`{row.topic}`, which keeps messages for {row.retention_days} days",
        "producers": ", ".join(row.producers),
        "consumers": ", ".join(row.consumers) or "none inside Penstock",
    }
    return facts | ({"retry": _retry(row.retry)} if row.consumers else {})


def _of_job() -> dict[str, str]:
    topics = {job.topic for job in JOBS}
    of_jobs = [subscription for subscription in subscriptions() if subscription.topic in topics]
    usual = of_jobs[0].retry
    own = (f"; `{one.topic}`: {_retry(one.retry)}" for one in of_jobs if one.retry != usual)
    return {
        "topic": ", ".join(f"`{subscription.topic}`" for subscription in of_jobs),
        "producers": "the scheduler",
        "consumers": ", ".join(subscription.consumer for subscription in of_jobs),
        "retry": _retry(usual) + "".join(own),
    }


def _of_ingest() -> dict[str, str]:
    subscription = ingest_subscription("<tenant>")
    return {
        "topic": f"none; it stands for any message on `{subscription.topic}`",
        "producers": "the tenant's apps",
        "consumers": subscription.consumer,
        "retry": _retry(subscription.retry),
    }


def _of_answer() -> dict[str, str]:
    return {
        "topic": f"`{answers_topic('<tenant>')}`, the tenant's own",
        "producers": "delivery",
        "consumers": "the tenant's apps",
    }


_BESIDE: dict[type[Event], Callable[[], dict[str, str]]] = {
    JobDue: _of_job,
    IngestReceived: _of_ingest,
    AnswerReady: _of_answer,
}


def _retry(retry: Retry) -> str:
    return (
        f"{retry.attempts} attempts, {retry.min_backoff_s:g} to {retry.max_backoff_s:g} s apart, "
        f"each to be acknowledged within {retry.ack_deadline_s} s"
    )


def _part(struct: StructType, event: type[Event]) -> str:
    rows = (
        (f"`{field.encode_name}`", _type(field.type), "yes" if field.required else "no",
         meaning(struct.cls, field.name))
        for field in struct.fields
    )  # fmt: skip
    table = _table(("field", "type", "required", "meaning"), rows)
    if struct.cls is event:
        return table
    told = paragraphs(struct.cls)
    if struct.tag_field:
        told.append(f"Its `{struct.tag_field}` is `{struct.tag}`.")
    return "\n\n".join([f"### {struct.cls.__name__}", *told, table])


def _example(event: type[Event]) -> str:
    source, example = next(pair for pair in EXAMPLES if type(pair[1]) is event)
    envelope = wrap(example, id=hashed_id((type_of(event),)), source=source, time=NOON)
    head = "\n".join(f"{name}: {value}" for name, value in envelope.attributes().items())
    return f"```\n{head}\n\n{msgspec.json.format(envelope.data, indent=2).decode()}\n```"


def _type(kind: Type) -> str:
    match kind:
        case StructType():
            return f"[{kind.cls.__name__}](#{kind.cls.__name__.lower()})"
        case LiteralType():
            return ", ".join(f"`{value}`" for value in kind.values)
        case UnionType():
            return " or ".join(_type(member) for member in kind.types)
        case VarTupleType():
            return f"list of {_type(kind.item_type)}"
    return _PLAIN[type(kind)]


_PLAIN: dict[type[Type], str] = {
    BoolType: "true or false",
    BytesType: "bytes (base64)",
    DateTimeType: "time (RFC 3339)",
    FloatType: "number",
    IntType: "whole number",
    NoneType: "null",
    RawType: "JSON",
    StrType: "text",
}


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))
