"""What Google bills for: documents read, written and deleted; bytes published, delivered and kept."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from events.catalog import EVENTS, subscriptions

# Names of what is counted, alone or with where it happened: `writes ledger`, `messages usage-recorded-v1`.
READS, WRITES, DELETES = "reads", "writes", "deletes"
PUBLISHES, MESSAGES, DELIVERIES = "publishes", "messages", "deliveries"
PUBLISHED, DELIVERED, KEPT = "published bytes", "delivered bytes", "kept byte-days"
STORE = (READS, WRITES, DELETES)

LEAST_BYTES = 1000  # billed for each publish, push or pull request, however small
TIMESTAMP_BYTES = 20
MESSAGE_ID_BYTES = 16

Counts = Counter[str]

_INGEST = "ingest-"
_CONSUMERS = Counter(one.topic for one in subscriptions())
_KEPT_DAYS = {row.topic: row.retention_days for row in EVENTS}


def store(kind: str, path: str, number: int = 1) -> Counts:
    """Operations on documents of the collection that a document's full name lies in."""
    return Counter({f"{kind} {path.split('/')[-2]}": number})


def published(topic: str, messages: Iterable[Any]) -> Counts:
    """One publish request and what follows from it: each of the topic's subscriptions gets each message
    once, by a request of its own; the topic keeps its messages for the days of the catalogue.
    """
    sizes = [volume(message) for message in messages]
    consumers = 1 if topic.startswith(_INGEST) else _CONSUMERS[topic]
    return Counter(
        {
            PUBLISHES: 1,
            f"{MESSAGES} {topic}": len(sizes),
            DELIVERIES: consumers * len(sizes),
            PUBLISHED: max(LEAST_BYTES, sum(sizes)),
            DELIVERED: consumers * sum(max(LEAST_BYTES, size) for size in sizes),
            KEPT: _KEPT_DAYS.get(topic, 0) * sum(sizes),
        }
    )


def volume(message: Any) -> int:
    """The bytes of a message as they are billed."""
    attributes = sum(len(name) + len(value) for name, value in message.attributes.items())
    return len(message.data) + attributes + TIMESTAMP_BYTES + MESSAGE_ID_BYTES


def total(counts: Mapping[str, float], kind: str) -> float:
    """All of a kind, wherever it happened."""
    return sum(number for name, number in counts.items() if name == kind or name.startswith(f"{kind} "))


def scaled(counts: Mapping[str, float], factor: float) -> dict[str, float]:
    """Each of them times a factor."""
    return {name: number * factor for name, number in counts.items()}


def less(counts: Mapping[str, float], others: Mapping[str, float]) -> dict[str, float]:
    """What is left without others, and nothing below nothing."""
    return {name: max(0.0, number - others.get(name, 0.0)) for name, number in counts.items()}


def together(several: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """All of them added up."""
    sums: dict[str, float] = {}
    for counts in several:
        for name, number in counts.items():
            sums[name] = sums.get(name, 0.0) + number
    return sums
