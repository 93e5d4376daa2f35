"""One request's way through the platform, as `docs/trace.md` shows it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from events.catalog import ingest_topic
from tests.cloud.topology.platform import TENANT, Platform

INGEST = ingest_topic(TENANT)
USAGE = "usage-recorded-v1"
STEPS = (INGEST, "inference-requested-v1", "inference-routed-v1")  # what follows comes in any order

LAST = {
    "`penstock.inference.completed.v1`",
    "`penstock.usage.recorded.v1`: started",
    "`penstock.usage.recorded.v1`: completed",
}

HEAD = """# What one published request makes the parts say

*Written by `tests/cloud/topology/test_crossing.py`, which watches every topic while one request passes. The
test fails where this is not what it sees; `UPDATE_TRACE=1` has it written anew.*

An app publishes this to the topic `{topic}` with plain google-cloud-pubsub:

```json
{body}
```

The parts are processes of their own: router, dispatcher, and each function under functions-framework. This
is every message about the request, with the subscriptions of its topic:

| Step | Topic | Says | Source | Subject | Consumed by |
|---|---|---|---|---|---|
"""

TAIL = """
Messages of one step come in any order. The dispatcher calls the engine between steps 3 and 4, and what it
says of the answer is stored with the answer, so that it is said whatever dies. `<message>` is the id
Pub/Sub gave the app's message; `<request>` is a hash of it, so the same message makes the same request
however often it comes. Reports that are about no request (jobs, pressure, fleet) are left out.

In the end the request reads as `{status}`, and `penstock usage` bills it once, to the key `{key}`.
"""


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """One line of the table."""

    step: int
    topic: str
    says: str
    source: str
    subject: str
    consumers: str

    def __str__(self) -> str:
        source, subject = (f"`{text}`" if text else "the app" for text in (self.source, self.subject))
        return f"| {self.step} | `{self.topic}` | {self.says} | {source} | {subject} | {self.consumers} |"


def rows(platform: Platform, seen: dict[str, list[Any]], name: str, message_id: str) -> list[Row]:
    """What was said of a request; a message that was said twice is shown once."""
    consumers = {topic: _consumers(platform, topic) for topic, messages in seen.items() if messages}
    found = {
        Row(
            step=1 + (STEPS.index(topic) if topic in STEPS else len(STEPS)),
            topic=topic,
            says=says,
            source=message.attributes.get("ce-source", ""),
            subject=_normal(message, name),
            consumers=consumers[topic],
        )
        for topic, messages in seen.items()
        for message in messages
        for says in _sayings(topic, message, name, message_id)
    }
    return sorted(found)


def whole(found: list[Row]) -> list[Row]:
    """The rows, once the last ones are among them."""
    said = {row.says for row in found}
    return found if said >= LAST else []


def _sayings(topic: str, message: Any, name: str, message_id: str) -> Iterable[str]:
    """What a message says about the request; nothing where it is about something else."""
    if topic == INGEST:
        return ["its body"] if message.message_id == message_id else []
    if message.attributes.get("ce-subject") == name:
        return [f"`{message.attributes['ce-type']}`"]
    if topic != USAGE:
        return []
    records = json.loads(message.data)["records"]
    kinds = [one["kind"] for one in records if one["attempt"].startswith(f"{name}.")]
    return [f"`{message.attributes['ce-type']}`: {kind}" for kind in kinds]


def _normal(message: Any, name: str) -> str:
    subject = message.attributes.get("ce-subject", "")
    return "<request>" if subject == name else "<process>" if subject else "<message>"


def _consumers(platform: Platform, topic: str) -> str:
    """Those that Pub/Sub has subscriptions for, and how each gets its messages."""
    told = []
    for full in platform.publisher.list_topic_subscriptions(topic=platform.topic(topic)):
        consumer = full.rpartition("/")[2].removeprefix(f"{topic}.")
        if not consumer.startswith(("test-", "watch-")):
            pushed = platform.subscriber.get_subscription(subscription=full).push_config.push_endpoint
            told.append(f"{consumer}, {'pushed' if pushed else 'pulls'}")
    return "; ".join(sorted(told)) or "whoever watches"


def rendered(body: dict[str, Any], table: list[Row], status: str, key: str) -> str:
    """The whole file."""
    head = HEAD.format(topic=INGEST, body=json.dumps(body))
    return head + "\n".join(map(str, table)) + "\n" + TAIL.format(status=status, key=key)
