"""Our plain values as Firestore's messages, and back."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, cast

from google.cloud.firestore_v1.types import document, firestore, query, write

from services.adapters.firestore.documents import ABSENT, PRESENT, Fields, Query, Stored, Value, Write

# The messages below the library's wrappers: those take ten times as long to fill.
_Document: Final = document.Document.pb()
_Value: Final = document.Value.pb()
_Write: Final = write.Write.pb()
_StructuredQuery: Final = query.StructuredQuery.pb()
_Cursor: Final = query.Cursor.pb()

COUNT: Final = "count"

_NAME = "__name__"
_SECOND_NS = 1_000_000_000
_OPERATORS: Final = {
    "==": "EQUAL",
    "in": "IN",
    "<": "LESS_THAN",
    "<=": "LESS_THAN_OR_EQUAL",
    ">": "GREATER_THAN",
    ">=": "GREATER_THAN_OR_EQUAL",
}


class Wire:
    """The messages of one database. `database`: its whole name, `projects/…/databases/…`."""

    def __init__(self, database: str) -> None:
        self.database = database
        self._root = f"{database}/documents"

    def get(self, paths: Iterable[str], fields: Iterable[str] | None) -> firestore.BatchGetDocumentsRequest:
        """Asks for documents by their paths."""
        request = firestore.BatchGetDocumentsRequest.pb()(database=self.database)
        request.documents.extend(self._name(path) for path in paths)
        if fields is not None:
            request.mask.field_paths.extend(fields)
        return cast(firestore.BatchGetDocumentsRequest, firestore.BatchGetDocumentsRequest.wrap(request))

    def commit(self, writes: Iterable[Write]) -> firestore.CommitRequest:
        """All writes or none."""
        request = firestore.CommitRequest.pb()(database=self.database)
        request.writes.extend(self._write(one) for one in writes)
        return cast(firestore.CommitRequest, firestore.CommitRequest.wrap(request))

    def batch(self, writes: Iterable[Write]) -> firestore.BatchWriteRequest:
        """Every write on its own."""
        request = firestore.BatchWriteRequest.pb()(database=self.database)
        request.writes.extend(self._write(one) for one in writes)
        return cast(firestore.BatchWriteRequest, firestore.BatchWriteRequest.wrap(request))

    def find(self, asked: Query) -> firestore.RunQueryRequest:
        """Asks for what a query finds."""
        parent = self._name(asked.under) if asked.under else self._root
        request = firestore.RunQueryRequest.pb()(parent=parent)
        request.structured_query.CopyFrom(self._query(asked))
        return cast(firestore.RunQueryRequest, firestore.RunQueryRequest.wrap(request))

    def count(self, asked: Query) -> firestore.RunAggregationQueryRequest:
        """Asks how many documents a query finds, without reading them."""
        request = firestore.RunAggregationQueryRequest.pb()(parent=self._root)
        counting = request.structured_aggregation_query
        counting.structured_query.CopyFrom(self._query(asked))
        counting.aggregations.add(alias=COUNT).count.SetInParent()
        return cast(firestore.RunAggregationQueryRequest, firestore.RunAggregationQueryRequest.wrap(request))

    def stored(self, found: Any) -> Stored:
        """A document as it was read."""
        return Stored(
            path=found.name.removeprefix(f"{self._root}/"),
            fields={name: value_of(value) for name, value in found.fields.items()},
            version=found.update_time.ToNanoseconds(),
        )

    def _name(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _write(self, given: Write) -> Any:
        made = _Write()
        if given.fields is None:
            made.delete = self._name(given.path)
        else:
            made.update.name = self._name(given.path)
            _fill(made.update.fields, given.fields)
            if given.merge:
                made.update_mask.field_paths.extend(given.fields)
        for name, amount in given.counted.items():
            made.update_transforms.add(field_path=name).increment.integer_value = amount
        _expect(made.current_document, given.expect)
        return made

    def _query(self, asked: Query) -> Any:
        made = _StructuredQuery()
        made.from_.add(collection_id=asked.collection, all_descendants=asked.group)
        for name, operator, value in asked.where:
            test = made.where.composite_filter.filters.add().field_filter
            test.field.field_path = name
            test.op = _OPERATORS[operator]
            _set(test.value, value)
        if asked.where:
            made.where.composite_filter.op = "AND"
        for name in (*asked.order, _NAME) if asked.order else ():
            made.order_by.add(direction="ASCENDING").field.field_path = name
        for name in () if asked.fields is None else (asked.fields or (_NAME,)):
            made.select.fields.add(field_path=name)
        if asked.after is not None:
            values, path = asked.after
            cursor = _Cursor(values=[to_value(value) for value in values], before=False)
            cursor.values.add(reference_value=self._name(path))
            made.start_at.CopyFrom(cursor)
        if asked.limit is not None:
            made.limit.value = asked.limit
        return made


def to_value(value: Value | tuple[Value, ...]) -> Any:
    """A plain value as a message."""
    made = _Value()
    _set(made, value)
    return made


def value_of(value: Any) -> Value:
    """The plain value of a message."""
    kind = value.WhichOneof("value_type")
    if kind == "timestamp_value":
        time: datetime = value.timestamp_value.ToDatetime(tzinfo=UTC)
        return time
    if kind == "null_value":
        return None
    plain: Value = getattr(value, kind)
    return plain


def _fill(made: Any, fields: Fields) -> None:
    for name, value in fields.items():
        _set(made[name], value)


def _set(made: Any, value: Value | tuple[Value, ...]) -> None:
    match value:
        case None:
            made.null_value = 0
        case bool():
            made.boolean_value = value
        case int():
            made.integer_value = value
        case str():
            made.string_value = value
        case bytes():
            made.bytes_value = value
        case datetime():
            made.timestamp_value.FromDatetime(value)
        case tuple():
            made.array_value.values.extend(to_value(one) for one in value)


def _expect(condition: Any, version: int | None) -> None:
    if version is None:
        return
    if version in (ABSENT, PRESENT):
        condition.exists = version == PRESENT
    else:
        condition.update_time.seconds, condition.update_time.nanos = divmod(version, _SECOND_NS)
