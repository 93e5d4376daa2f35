"""Between a process and Google's emulators: passes every call on, and counts what it is billed for."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import grpc
import grpc.aio
from google.cloud.firestore_v1.types import firestore

from services.adapters.pubsub.messages import PublishRequest
from tests.cost.counts import DELETES, READS, WRITES, Counts, published, store

ANY_SIZE = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
PUBLISH = "/google.pubsub.v1.Publisher/Publish"
_DATABASE = "/google.firestore.v1.Firestore/"
# gRPC sets these itself.
_ITS_OWN = ("user-agent", "te", "content-type", "grpc-")

_Get = firestore.BatchGetDocumentsRequest.pb()
_Query = firestore.RunQueryRequest.pb()
_Found = firestore.RunQueryResponse.pb()
_Aggregation = firestore.RunAggregationQueryRequest.pb()
_Commit = firestore.CommitRequest.pb()
_Batch = firestore.BatchWriteRequest.pb()


class Edge(grpc.GenericRpcHandler):
    """One process's way to Firestore and Pub/Sub at `address`; `counts` is what it did there, `published` its
    publish requests.
    """

    def __init__(self, firestore: grpc.aio.Channel, pubsub: grpc.aio.Channel) -> None:
        self.address = ""
        self.counts: Counts = Counts()
        self.published: list[Any] = []
        self._channels = {"google.firestore.v1": firestore, "google.pubsub.v1": pubsub}

    def service(self, call: Any) -> Any:
        """See `GenericRpcHandler`."""
        return grpc.stream_stream_rpc_method_handler(partial(self._pass, call.method))

    async def _pass(self, method: str, requests: Any, context: Any) -> AsyncIterator[bytes]:
        tally = _Tally(method, self)
        channel = self._channels[method[1:].rpartition(".")[0]]
        call = channel.stream_stream(method)(metadata=_metadata(context), timeout=context.time_remaining())
        sending = asyncio.create_task(self._send(requests, call, tally))
        try:
            async for response in call:
                tally.response(response)
                yield response
            tally.ended()
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "", error.trailing_metadata() or ())
        finally:
            sending.cancel()
            call.cancel()

    @staticmethod
    async def _send(requests: Any, call: Any, tally: "_Tally") -> None:
        try:
            async for request in requests:
                tally.request(request)
                await call.write(request)
            await call.done_writing()
        except Exception:  # a mistake of ours would leave the caller waiting for ever
            call.cancel()
            raise


def _metadata(context: Any) -> list[tuple[str, Any]]:
    return [pair for pair in context.invocation_metadata() if not pair[0].startswith(_ITS_OWN)]


class _Tally:
    """Counts one call."""

    def __init__(self, method: str, edge: Edge) -> None:
        self._name = method.removeprefix(_DATABASE)
        self._edge = edge
        self._counts = edge.counts
        self._asked = ""  # the collection of a query
        self._found = 0

    def request(self, data: bytes) -> None:
        """One message of the caller."""
        match self._name:
            case "BatchGetDocuments":
                for name in _Get.FromString(data).documents:  # billed also where there is none
                    self._counts.update(store(READS, name))
            case "RunQuery":
                self._asked = _collection(_Query.FromString(data).structured_query)
            case "RunAggregationQuery":
                asked = _Aggregation.FromString(data).structured_aggregation_query
                self._asked = _collection(asked.structured_query)
            case "Commit":
                self._written(_Commit.FromString(data).writes)
            case "BatchWrite":
                self._written(_Batch.FromString(data).writes)
            case name if name == PUBLISH:
                asked = PublishRequest.FromString(data)
                self._edge.published.append(asked)
                self._counts.update(published(asked.topic.rpartition("/")[2], asked.messages))

    def _written(self, writes: Iterable[Any]) -> None:
        for write in writes:
            counted = store(DELETES, write.delete) if write.delete else store(WRITES, write.update.name)
            self._counts.update(counted)

    def response(self, data: bytes) -> None:
        """One message of the server."""
        if self._name == "RunQuery":
            self._found += _Found.FromString(data).HasField("document")

    def ended(self) -> None:
        """All is said; a query that finds nothing is one read, and so is a thousand that are counted."""
        if self._asked:
            self._counts[f"{READS} {self._asked}"] += max(1, self._found)


def _collection(query: Any) -> str:
    (source,) = query.from_
    return str(source.collection_id)


@asynccontextmanager
async def edges(firestore_address: str, pubsub_address: str) -> AsyncIterator[Any]:
    """Makes edges: `await make()` for each process."""
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=ANY_SIZE))
            for address in (firestore_address, pubsub_address)
        ]

        async def make() -> Edge:
            edge = Edge(*channels)
            server = grpc.aio.server(handlers=(edge,), options=(*ANY_SIZE, ("grpc.so_reuseport", 0)))
            edge.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            stack.push_async_callback(server.stop, None)
            return edge

        yield make
