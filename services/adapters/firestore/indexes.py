"""Every index the stores need, as plain data: Firestore answers no query without one.

Equal values first, then the order. Times only ever grow, and Firestore takes about 500 writes a second
at one end of an index: where no field before a time parts them, `spread` does, so that they are written
in several places and read back as one.
"""

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

REQUESTS: Final = "requests"
BODIES: Final = "bodies"
CHUNKS: Final = "chunks"
JOURNAL: Final = "journal"
LEDGER: Final = "ledger"
STANDINGS: Final = "standings"
PARTS: Final = "parts"
USAGE: Final = "usage"
KEYS: Final = "keys"
KEY_IDS: Final = "key_ids"
TENANTS: Final = "tenants"
RING: Final = "ring"
CONFIG: Final = "config"
CONFIG_VERSIONS: Final = "config_versions"
JOB_RECORDS: Final = "job_records"
ADVICE: Final = "advice"
CACHED: Final = "cached"
GENERATIONS: Final = "generations"
KEYED_CALLS: Final = "keyed_calls"
DATA_KEYS: Final = "data_keys"

# A query may ask for 30 combinations; the one with the most asks for these times the four final states.
SPREADS: Final = (0, 1, 2, 3)


def spread_of(id: str, among: int = len(SPREADS)) -> int:
    """A number below `among`, the same for the same id: by default where a document is indexed."""
    return zlib.crc32(id.encode()) % among


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """The indexes of a collection, all ascending. `composite`: of several fields each. `single`: fields
    with an index of their own. `bare`: all other fields; they would have one unless told. `group`: it is
    asked as one, wherever it lies.
    """

    name: str
    composite: tuple[tuple[str, ...], ...] = ()
    single: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    group: bool = False


DATA: Final = (
    Collection(
        name=REQUESTS,
        composite=(
            ("state", "tenant", "lane", "deadline_at", "created_at", "not_before"),  # waiting
            ("state", "lane", "tenant", "deadline_at", "not_before"),  # waiting_tenants
            ("spread", "state", "backend", "lane", "created_at"),  # queued
            ("spread", "state", "deadline_at"),  # overdue
            ("spread", "state", "lease_until"),  # lost, running
            ("spread", "state", "created_at"),  # stale
            ("spread", "owing", "written_at"),  # owing
            ("spread", "owing", "state", "expire_at"),  # forget
        ),
        bare=(
            *("id", "state", "tenant", "lane", "backend", "created_at", "deadline_at", "expire_at"),
            *("not_before", "lease_until", "owing", "written_at", "spread", "mark", "schema", "body"),
        ),
    ),
    Collection(
        name=BODIES,
        composite=(("spread", "expire_at"),),  # forget
        bare=("expire_at", "spread", "sealed", "put", "chunks", "schema"),
    ),
    Collection(
        name=CHUNKS,
        composite=(("spread", "expire_at"),),  # forget
        bare=("expire_at", "spread", "sealed"),
        group=True,
    ),
    Collection(
        name=JOURNAL,
        composite=(
            ("request", "next", "place"),  # place_of
            ("request", "place"),  # read, remove
            ("spread", "expire_at"),  # forget
        ),
        bare=(
            *("request", "place", "attempt", "first", "next", "expire_at", "closed", "sealed", "body_id"),
            *("spread", "schema"),
        ),
    ),
    Collection(
        name=LEDGER,
        composite=(
            ("folded", "producer", "stored_at"),  # unfolded, producers
            ("producer", "stored_at"),  # pages of one producer
            ("spread", "stored_at"),  # pages
        ),
        bare=("id", "producer", "stored_at", "folded", "spread", "mark", "parts", "schema", "body"),
    ),
    Collection(
        name=STANDINGS,
        single=("idle",),  # producers
        bare=("producer", "version", "mark", "parts", "schema", "body"),
    ),
    Collection(name=PARTS, bare=("mark", "body")),
    Collection(
        name=USAGE,
        # Equal values of several fields are found where their indexes meet.
        composite=(("tenant", "day"), ("key", "day"), ("model", "day")),
        single=("day",),
        bare=(
            *("tenant", "key", "model", "schema"),
            *("requests", "input", "output", "cached", "reasoning", "estimated"),
        ),
    ),
    Collection(name=KEYS, single=("id", "tenant"), bare=("mark", "schema", "body")),
    Collection(name=KEY_IDS, bare=("hash",)),
    Collection(name=TENANTS, bare=("mark", "schema", "body")),
    Collection(name=RING, bare=("name", "revision")),
    Collection(name=CONFIG, bare=("version", "body", "at", "mark", "schema")),
    Collection(name=CONFIG_VERSIONS, single=("version",), bare=("body", "at", "mark", "schema")),
    Collection(name=JOB_RECORDS, bare=("mark", "schema", "body")),
    Collection(name=ADVICE, bare=("mark", "schema", "body")),
    Collection(
        name=CACHED,
        composite=(("spread", "expire_at"),),  # forget
        single=("key", "tenant", "model"),  # remove
        bare=("expire_at", "spread", "sealed", "schema"),
    ),
    Collection(name=GENERATIONS, bare=("mark", "schema", "body")),
    Collection(
        name=KEYED_CALLS,
        composite=(("spread", "expire_at"),),  # forget
        bare=("expire_at", "spread", "mark", "schema", "body"),
    ),
)

# In a database of their own, which no data backup holds.
SECRETS: Final = (Collection(name=DATA_KEYS, bare=("tenant", "wrapped", "schema")),)


def rendered(collections: Sequence[Collection]) -> str:
    """The text of a `firestore.indexes.json`, which the official tools deploy."""
    indexes = [index for collection in collections for index in _composite(collection)]
    overrides = [override for collection in collections for override in _overrides(collection)]
    return json.dumps({"indexes": indexes, "fieldOverrides": overrides}, indent=2) + "\n"


def _composite(collection: Collection) -> Iterator[dict[str, Any]]:
    for fields in collection.composite:
        yield {
            "collectionGroup": collection.name,
            "queryScope": _scope(collection),
            "fields": [{"fieldPath": field, "order": "ASCENDING"} for field in fields],
        }


def _overrides(collection: Collection) -> Iterator[dict[str, Any]]:
    ascending = [{"order": "ASCENDING", "queryScope": _scope(collection)}]
    for field in (*collection.single, *collection.bare):
        yield {
            "collectionGroup": collection.name,
            "fieldPath": field,
            "indexes": ascending if field in collection.single else [],
        }


def _scope(collection: Collection) -> str:
    return "COLLECTION_GROUP" if collection.group else "COLLECTION"
