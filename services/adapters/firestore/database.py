"""One Firestore database: every call ends in its time, with a result or with one of the four errors."""

import asyncio
import random
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import grpc
from google.api_core import exceptions as errors
from google.auth.exceptions import GoogleAuthError
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport
from google.cloud.firestore_v1.types import firestore

from events.words import Conflict, Invalid, Unavailable
from services.adapters.firestore.documents import Query, Stored, Write
from services.adapters.firestore.wire import COUNT, Wire

T = TypeVar("T")
_Options: TypeAlias = dict[str, Any]

AT_ONCE = 300  # writes in one batch; Firestore takes 500

_HOST = "firestore.googleapis.com:443"
_CHANNEL: Final = (
    # A server that is back is noticed within seconds; by default a channel waits up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.keepalive_time_ms", 30_000),
)
# What the official libraries tell an emulator, too: it asks who writes in batches, and takes anybody's word.
_EMULATOR_METADATA: Final = (("authorization", "Bearer owner"),)

_UNMET: Final = (errors.AlreadyExists, errors.FailedPrecondition, errors.NotFound)
_PASSING: Final = (
    errors.Aborted,  # another write was at the same document
    errors.DeadlineExceeded,
    errors.InternalServerError,
    errors.ResourceExhausted,
    errors.ServiceUnavailable,
    errors.Unknown,  # a connection that breaks off
)


class Moved(Conflict):
    """A document is not what a write expects it to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a call may take, and how often it is tried. Times in seconds.

    Between two tries lies a random part of a pause that doubles from `first_pause_s`.
    """

    attempt_s: float = 2.0
    total_s: float = 5.0
    tries: int = 5
    first_pause_s: float = 0.1


PATIENCE: Final = Patience()


class Api(Protocol):
    """What is used of Google's client; the lowest edge, where calls can be watched or made to fail."""

    def batch_get_documents(
        self, request: firestore.BatchGetDocumentsRequest, *, retry: None, timeout: float, metadata: Any
    ) -> Awaitable[AsyncIterable[firestore.BatchGetDocumentsResponse]]:
        """Documents by name."""

    def run_query(
        self, request: firestore.RunQueryRequest, *, retry: None, timeout: float, metadata: Any
    ) -> Awaitable[AsyncIterable[firestore.RunQueryResponse]]:
        """Documents by a query."""

    def run_aggregation_query(
        self, request: firestore.RunAggregationQueryRequest, *, retry: None, timeout: float, metadata: Any
    ) -> Awaitable[AsyncIterable[firestore.RunAggregationQueryResponse]]:
        """What is counted of a query's documents."""

    def commit(
        self, request: firestore.CommitRequest, *, retry: None, timeout: float, metadata: Any
    ) -> Awaitable[firestore.CommitResponse]:
        """All writes or none."""

    def batch_write(
        self, request: firestore.BatchWriteRequest, *, retry: None, timeout: float, metadata: Any
    ) -> Awaitable[firestore.BatchWriteResponse]:
        """Every write on its own."""


def connect(emulator: str | None = None) -> FirestoreAsyncClient:
    """Google's client, to be made where the event loop runs; `emulator` is its host:port.

    Its higher-level sibling `AsyncClient` finds an emulator in the environment only, and hides what the
    server says about each write. Raises `Unavailable` where this machine has no Google identity.
    """
    if emulator is not None:
        channel = grpc.aio.insecure_channel(emulator, options=_CHANNEL)
    else:
        try:
            channel = FirestoreGrpcAsyncIOTransport.create_channel(_HOST, options=_CHANNEL)
        except GoogleAuthError as error:
            raise Unavailable(f"There are no Google credentials for Firestore: {error}") from error
    return FirestoreAsyncClient(transport=FirestoreGrpcAsyncIOTransport(channel=channel))


class Database:
    """Documents of one database of a project.

    A call that is not answered, or refused for a passing reason, is tried again within its `patience`
    and then raises `Unavailable`: a write may then have taken place, or do so a little later. That is
    why a write is either conditional or the same when done twice.
    """

    def __init__(
        self,
        api: Api,
        project: str,
        database: str = "(default)",
        *,
        patience: Patience = PATIENCE,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._api = api
        self._wire = Wire(f"projects/{project}/databases/{database}")
        self._patience = patience
        self._metadata = metadata
        self._chance = random.random

    @classmethod
    def on_emulator(
        cls, api: Api, project: str, database: str = "(default)", *, patience: Patience = PATIENCE
    ) -> "Database":
        """The same behind an emulator, which asks for one more header."""
        return cls(api, project, database, patience=patience, metadata=_EMULATOR_METADATA)

    @classmethod
    def at(cls, api: Api, project: str, database: str, emulator: str | None) -> "Database":
        """Google's own, or the one an `emulator` (host:port) stands in for."""
        return cls.on_emulator(api, project, database) if emulator else cls(api, project, database)

    async def get(self, path: str, fields: Iterable[str] | None = None) -> Stored | None:
        """A document, or only some of its fields; None where there is none."""
        return (await self.get_all([path], fields)).get(path)

    async def get_all(self, paths: Sequence[str], fields: Iterable[str] | None = None) -> dict[str, Stored]:
        """Those documents that are there, by path."""
        if not paths:
            return {}
        request = self._wire.get(paths, fields)

        async def work(options: _Options) -> dict[str, Stored]:
            answers = await self._api.batch_get_documents(request, **options)
            found = [firestore.BatchGetDocumentsResponse.pb(answer) async for answer in answers]
            stored = [self._wire.stored(answer.found) for answer in found if answer.HasField("found")]
            return {document.path: document for document in stored}

        return await self._call("read", work)

    async def find(self, query: Query) -> list[Stored]:
        """What a query finds, in its order."""
        request = self._wire.find(query)

        async def work(options: _Options) -> list[Stored]:
            answers = await self._api.run_query(request, **options)
            found = [firestore.RunQueryResponse.pb(answer) async for answer in answers]
            return [self._wire.stored(answer.document) for answer in found if answer.HasField("document")]

        return await self._call("answer a query", work)

    async def count(self, query: Query) -> int:
        """How many documents a query finds; costs one read for every thousand of them."""
        request = self._wire.count(query)

        async def work(options: _Options) -> int:
            answers = await self._api.run_aggregation_query(request, **options)
            found = [firestore.RunAggregationQueryResponse.pb(answer) async for answer in answers]
            return sum(answer.result.aggregate_fields[COUNT].integer_value for answer in found)

        return await self._call("count", work)

    async def commit(self, writes: Sequence[Write]) -> list[int]:
        """All writes or none; the versions they leave (0 for a deletion).

        Raises `Moved` where a document is not as expected; so it does where an earlier try of this very
        commit took place unheard.
        """
        request = self._wire.commit(writes)

        async def work(options: _Options) -> list[int]:
            try:
                answer = await self._api.commit(request, **options)
            except _UNMET as error:
                raise Moved(error.message) from error
            results = firestore.CommitResponse.pb(answer).write_results
            return [result.update_time.ToNanoseconds() for result in results]

        return await self._call("write", work)

    async def each(self, writes: Sequence[Write]) -> list[bool]:
        """Every write on its own, in batches; which of them took place."""
        done: list[bool] = []
        for start in range(0, len(writes), AT_ONCE):
            done += await self._batch(writes[start : start + AT_ONCE])
        return done

    async def _batch(self, writes: Sequence[Write]) -> list[bool]:
        request = self._wire.batch(writes)

        async def work(options: _Options) -> list[bool]:
            answer = await self._api.batch_write(request, **options)
            return [status.code == 0 for status in firestore.BatchWriteResponse.pb(answer).status]

        return await self._call("write", work)

    async def _call(self, doing: str, work: Callable[[_Options], Awaitable[T]]) -> T:
        patience, number = self._patience, 0
        end = monotonic() + patience.total_s
        while True:
            number += 1
            timeout_s = min(patience.attempt_s, end - monotonic())
            try:
                return await work({"retry": None, "timeout": timeout_s, "metadata": self._metadata})
            except errors.GoogleAPICallError as error:
                pause_s = patience.first_pause_s * 2 ** (number - 1) * self._chance()
                last = number >= patience.tries or monotonic() + pause_s >= end
                if last or not isinstance(error, _PASSING):
                    raise _ours(doing, error) from error
            await asyncio.sleep(pause_s)


async def close(api: FirestoreAsyncClient) -> None:
    """Lets go of the connection."""
    transport: Any = api.transport  # its `close` is not typed
    await transport.close()


def _ours(doing: str, error: errors.GoogleAPICallError) -> Invalid | Unavailable:
    kind = Invalid if isinstance(error, errors.InvalidArgument) else Unavailable
    return kind(f"Firestore did not {doing}: {error.message}")
