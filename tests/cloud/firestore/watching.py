"""Google's client, watched: what is asked, what it costs, and whether the declared indexes answer it."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.cloud.firestore_v1.types import firestore, query

from services.adapters.firestore.database import Api
from services.adapters.firestore.indexes import Collection

_EQUAL = ("EQUAL", "IN")


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a query decides about its index. `order` ends before the name of the document."""

    collection: str
    group: bool
    equal: frozenset[str]
    order: tuple[str, ...]


@dataclass(slots=True)
class Costs:
    """What a call is billed for, and how many round trips it makes."""

    reads: int = 0
    writes: int = 0
    deletes: int = 0
    calls: int = 0


@dataclass(slots=True)
class Watched:
    """The same client, and a record of what went through it."""

    api: Api
    asked: set[Asked] = field(default_factory=set)
    written: dict[str, set[str]] = field(default_factory=dict)
    costs: Costs = field(default_factory=Costs)

    async def batch_get_documents(self, request: Any, **given: Any) -> Any:
        self.costs.reads += len(firestore.BatchGetDocumentsRequest.pb(request).documents)  # also if missing
        self.costs.calls += 1
        return await self.api.batch_get_documents(request, **given)

    async def run_query(self, request: Any, **given: Any) -> AsyncIterator[Any]:
        self.asked.add(asked_by(firestore.RunQueryRequest.pb(request).structured_query))
        self.costs.calls += 1
        return self._counted(await self.api.run_query(request, **given))

    async def run_aggregation_query(self, request: Any, **given: Any) -> AsyncIterator[Any]:
        asked = firestore.RunAggregationQueryRequest.pb(request).structured_aggregation_query
        self.asked.add(asked_by(asked.structured_query))
        self.costs.calls += 1
        return self._added_up(await self.api.run_aggregation_query(request, **given))

    async def commit(self, request: Any, **given: Any) -> Any:
        self._note(firestore.CommitRequest.pb(request).writes)
        return await self.api.commit(request, **given)

    async def batch_write(self, request: Any, **given: Any) -> Any:
        self._note(firestore.BatchWriteRequest.pb(request).writes)
        return await self.api.batch_write(request, **given)

    def check(self, collections: Sequence[Collection]) -> None:
        """Fails where a query has no index, or a field is written whose index nobody decided."""
        named = {collection.name: collection for collection in collections}
        uncovered = [asked for asked in self.asked if not indexes_for(asked, named[asked.collection])]
        assert [] == uncovered, f"no index answers {uncovered}"
        undecided = {
            f"{name}.{one}"
            for name, fields in self.written.items()
            for one in fields - {*named[name].single, *named[name].bare}
        }
        assert set() == undecided, f"nobody decided on an index of {sorted(undecided)}"

    async def _counted(self, answers: Any) -> AsyncIterator[Any]:
        found = 0
        async for answer in answers:
            found += "document" in answer
            yield answer
        self.costs.reads += max(found, 1)  # also of a query that finds nothing

    async def _added_up(self, answers: Any) -> AsyncIterator[Any]:
        async for answer in answers:
            counted = sum(value.integer_value for value in answer.result.aggregate_fields.values())
            self.costs.reads += max(1, -(-counted // 1000))
            yield answer

    def _note(self, writes: Iterable[Any]) -> None:
        self.costs.calls += 1
        for write in writes:
            if write.delete:
                self.costs.deletes += 1
            else:
                self.costs.writes += 1
                collection = write.update.name.split("/")[-2]
                fields = self.written.setdefault(collection, set())
                fields.update(write.update.fields)
                fields.update(transform.field_path for transform in write.update_transforms)


def asked_by(sent: Any) -> Asked:
    """What a query asks of the indexes; see "implicit order" in Firestore's documentation."""
    (source,) = sent.from_
    filters = [one.field_filter for one in sent.where.composite_filter.filters]
    equal = {one.field.field_path for one in filters if _operator(one) in _EQUAL}
    ranges = sorted({one.field.field_path for one in filters if _operator(one) not in _EQUAL})
    order = [one.field.field_path for one in sent.order_by]
    named = [one for one in order if one != "__name__"]
    # What is compared and not ordered by is ordered by all the same, behind the rest.
    implied = [one for one in ranges if one not in named]
    assert not (implied and "__name__" in order), f"{implied} would be ordered by behind the name"
    return Asked(source.collection_id, source.all_descendants, frozenset(equal), (*named, *implied))


def indexes_for(asked: Asked, collection: Collection) -> set[tuple[str, ...]]:
    """The indexes that answer a query together; none where they do not.

    One index does that whose last fields are the order, behind fields that are to be equal; several that
    end alike are merged. A query without condition and order needs none but the documents themselves.
    """
    if not (asked.equal or asked.order or asked.group):
        return {()}
    assert asked.group == collection.group, f"{asked.collection} is indexed for another scope"
    ends = len(asked.order)
    usable = {
        index
        for index in (*collection.composite, *((one,) for one in collection.single))
        if index[len(index) - ends :] == asked.order and asked.equal.issuperset(index[: len(index) - ends])
    }
    whole = {index for index in usable if set(index[: len(index) - ends]) == asked.equal}
    if whole:
        return {min(whole, key=len)}
    covered = Counter(one for index in usable for one in index[: len(index) - ends])
    return usable if covered.keys() == asked.equal else set()


def _operator(one: Any) -> str:
    return str(query.StructuredQuery.FieldFilter.Operator(one.op).name)
