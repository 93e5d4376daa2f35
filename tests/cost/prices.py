"""Google's list prices in US dollars, each with its page and the day that page was read."""

from collections.abc import Mapping
from typing import NamedTuple

from tests.cost.counts import DELETES, DELIVERED, KEPT, PUBLISHED, READS, WRITES, total

TIB = 2**40
GIB = 2**30
DAYS_A_MONTH = 30
PER_100_000 = 1e-5


class Price(NamedTuple):
    """A list price: `dollars` for each `unit`, as the page `source` said on the day `read_on`."""

    what: str
    dollars: float
    unit: str
    where: str
    read_on: str
    source: str


_PUBSUB = ("all regions", "2026-09-20", "https://cloud.google.com/pubsub/pricing")
_FIRESTORE = ("us-central1", "2026-08-26", "https://cloud.google.com/firestore/pricing")

THROUGHPUT = Price("Pub/Sub, bytes published and delivered", 40.0, "TiB", *_PUBSUB)
KEEPING = Price("Pub/Sub, messages kept by topics", 0.27, "GiB and month", *_PUBSUB)
READING = Price("Firestore Standard, documents read", 0.03, "100,000", *_FIRESTORE)
WRITING = Price("Firestore Standard, documents written", 0.09, "100,000", *_FIRESTORE)
DELETING = Price("Firestore Standard, documents deleted", 0.01, "100,000", *_FIRESTORE)
PRICES = (THROUGHPUT, KEEPING, READING, WRITING, DELETING)


def pubsub(counts: Mapping[str, float]) -> float:
    """What Pub/Sub asks for these, in dollars."""
    moved = total(counts, PUBLISHED) + total(counts, DELIVERED)
    return moved * THROUGHPUT.dollars / TIB + total(counts, KEPT) * KEEPING.dollars / GIB / DAYS_A_MONTH


def firestore(counts: Mapping[str, float]) -> float:
    """What Firestore asks for these, in dollars."""
    rates = {READS: READING, WRITES: WRITING, DELETES: DELETING}
    return sum(total(counts, kind) * price.dollars * PER_100_000 for kind, price in rates.items())


def dollars(counts: Mapping[str, float]) -> float:
    """Both, without the free tiers."""
    return pubsub(counts) + firestore(counts)
