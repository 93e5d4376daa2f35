"""What the adapters ask has an index, every index is asked for, and the file of them is what tools read."""

import json
from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adapters.firestore import indexes
from services.adapters.firestore.advice import FirestoreAdvice
from services.adapters.firestore.bodies import FirestoreBodies
from services.adapters.firestore.cache import FirestoreCache
from services.adapters.firestore.config_documents import FirestoreConfigDocuments
from services.adapters.firestore.documents import Query, document_id, put
from services.adapters.firestore.indexes import Collection
from services.adapters.firestore.journal import FirestoreJournal
from services.adapters.firestore.keyed_calls import FirestoreKeyedCalls
from services.adapters.firestore.keys import FirestoreKeys
from services.adapters.firestore.ledger import FirestoreUsageLedger
from services.adapters.firestore.requests import FirestoreRequests
from services.adapters.firestore.wire import Wire
from services.configuration.feed import Published
from tests.cloud.firestore.opening import watched_database
from tests.cloud.firestore.watching import Asked, asked_by, indexes_for
from tests.contracts.adapters import START, Clock

NAMED = {collection.name: collection for collection in (*indexes.DATA, *indexes.SECRETS)}
DAYS = (None, date(2027, 3, 1))

Ask = Callable[[Any], Awaitable[object]]


def requests(database: Any) -> FirestoreRequests:
    return FirestoreRequests(database, Clock())


def ledger(database: Any) -> FirestoreUsageLedger:
    return FirestoreUsageLedger(database, Clock())


def usage(which: tuple[Any, ...], database: Any) -> Awaitable[object]:
    return ledger(database).usage(*which)


QUESTIONS: tuple[Ask, ...] = (
    lambda database: requests(database).waiting_tenants(START),
    lambda database: requests(database).waiting("acme", "batch", START, 10),
    lambda database: requests(database).queued("pool", "batch"),
    lambda database: requests(database).overdue(START, 10),
    lambda database: requests(database).lost(START, 10),
    lambda database: requests(database).running(10),
    lambda database: requests(database).stale(START, 10),
    lambda database: requests(database).owing(START, 10),
    lambda database: requests(database).forget(START, 10),
    lambda database: ledger(database).producers(),
    lambda database: ledger(database).unfolded("r", 10),
    lambda database: ledger(database).pages(),
    lambda database: ledger(database).pages("r"),
    *(partial(usage, which) for which in product((None, "a"), (None, "k"), (None, "m"), DAYS, DAYS)),
    lambda database: FirestoreBodies(database, Clock()).forget(START, 10),
    lambda database: FirestoreBodies(database, Clock()).delete(["b"]),
    lambda database: FirestoreJournal(database, Clock()).place_of("r", 3),
    lambda database: FirestoreJournal(database, Clock()).read("r", 0, 10),
    lambda database: FirestoreJournal(database, Clock()).remove("r"),
    lambda database: FirestoreJournal(database, Clock()).forget(START, 10),
    lambda database: FirestoreAdvice(database).standings(),
    lambda database: FirestoreCache(database, Clock()).forget(START, 10),
    lambda database: FirestoreCache(database, Clock()).remove("tenant", "acme", 10),
    lambda database: FirestoreCache(database, Clock()).remove("model", "gemma", 10),
    lambda database: FirestoreCache(database, Clock()).remove("key", "k", 10),
    lambda database: FirestoreKeyedCalls(database, Clock()).forget(START, 10),
    lambda database: FirestoreKeys(database).by_id("acme", "k"),
    lambda database: FirestoreKeys(database).list(),
    lambda database: FirestoreKeys(database).list("acme"),
    lambda database: FirestoreKeys(database).tenants(),
    lambda database: published_versions(database),  # noqa: PLW0108  (defined below)
)


async def published_versions(database: Any) -> list[Published]:
    documents = FirestoreConfigDocuments(database, Clock())
    await documents.publish(b"{}", 0)
    return await documents.versions(10)


@pytest.mark.anyio
async def test_every_index_is_needed_by_a_question_and_every_question_has_one() -> None:
    async with watched_database() as (database, watched):
        for ask in QUESTIONS:
            await ask(database)

    used = {
        (asked.collection, index)
        for asked in watched.asked
        for index in indexes_for(asked, NAMED[asked.collection])
    }
    declared = {
        (one.name, index)
        for one in NAMED.values()
        for index in (*one.composite, *((field,) for field in one.single))
    }
    assert declared == used - {(name, ()) for name in NAMED}


def asked(equal: str = "", order: str = "", *, group: bool = False) -> Asked:
    return Asked("c", group, frozenset(equal.split()), tuple(order.split()))


C = Collection(name="c", composite=(("a", "b", "t"), ("d", "t")), single=("s", "t"), bare=("a", "b", "d"))


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (asked(), {()}),
        (asked("s"), {("s",)}),
        (asked(order="t"), {("t",)}),
        (asked("a b", "t"), {("a", "b", "t")}),
        (asked("a b d", "t"), {("a", "b", "t"), ("d", "t"), ("t",)}),  # merged
        (asked("a", "b t"), {("a", "b", "t")}),
        (asked("s", "t"), set()),  # a merge needs indexes that end alike
        (asked("a", "t"), set()),
        (asked("b", "a t"), set()),
        (asked("a b"), set()),
        (asked("x"), set()),
        (asked(order="s t"), set()),
    ],
)
def test_the_rules_by_which_an_index_answers_a_question(
    question: Asked, expected: set[tuple[str, ...]]
) -> None:
    assert expected == indexes_for(question, C)


def test_a_group_is_asked_through_an_index_of_groups_only() -> None:
    with pytest.raises(AssertionError, match="scope"):
        indexes_for(asked("s", group=True), C)


def test_what_is_compared_counts_as_ordered_by() -> None:
    query = Query(collection="c", where=(("a", "==", 1), ("y", "<", 1), ("t", ">", 1)), order=("t", "y"))
    sent = Wire("d").find(query)
    assert asked("a", "t y") == asked_by(type(sent).pb(sent).structured_query)


@pytest.mark.anyio
async def test_a_query_without_index_and_a_field_without_decision_are_noticed() -> None:
    with pytest.raises(AssertionError, match="no index"):
        async with watched_database() as (database, _):
            await database.find(Query(collection="keys", where=(("hash", "==", "a"),)))
    with pytest.raises(AssertionError, match=r"keys\.hash"):
        async with watched_database() as (database, _):
            await database.commit([put("keys/a", {"hash": "a"})])


def test_the_file_says_what_the_official_tools_read() -> None:
    made = json.loads(indexes.rendered(indexes.DATA))
    assert {
        "collectionGroup": "bodies",
        "queryScope": "COLLECTION",
        "fields": [
            {"fieldPath": "spread", "order": "ASCENDING"},
            {"fieldPath": "expire_at", "order": "ASCENDING"},
        ],
    } in made["indexes"]
    assert ["COLLECTION_GROUP"] == [
        one["queryScope"] for one in made["indexes"] if one["collectionGroup"] == "chunks"
    ]
    overrides = {(one["collectionGroup"], one["fieldPath"]): one["indexes"] for one in made["fieldOverrides"]}
    assert [] == overrides["requests", "body"]
    assert [{"order": "ASCENDING", "queryScope": "COLLECTION"}] == overrides["keys", "id"]
    assert len(made["fieldOverrides"]) == len(overrides)


@given(st.text(max_size=2_000), st.text(max_size=20))
def test_an_id_becomes_a_document_id_that_firestore_takes_and_no_other_id_becomes(
    id: str, other: str
) -> None:
    made = document_id(id)
    assert 0 < len(made.encode()) <= 1_500
    assert "/" not in made
    assert made not in (".", "..")
    assert not (made.startswith("__") and made.endswith("__"))
    assert (id == other) == (made == document_id(other))


@pytest.mark.parametrize(
    "id", ["a/b", ".", "..", "__x__", "__", "", "é", "a%2Fb", "!", "x" * 1_500, "x" * 1_501]
)
@pytest.mark.anyio
async def test_the_emulator_takes_it_too(id: str) -> None:
    path = f"tenants/{document_id(id)}"
    async with watched_database() as (database, _):
        await database.commit([put(path, {"body": b""})])
        assert await database.get(path) is not None
