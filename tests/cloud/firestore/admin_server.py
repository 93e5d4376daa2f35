"""A server that takes exports and imports as Firestore's Admin API does, in that API's own messages.

The emulator has no such API. Nothing is copied: what is asked is remembered, and operations end when told.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from google.cloud.firestore_admin_v1.types import (
    ExportDocumentsMetadata,
    ExportDocumentsRequest,
    ImportDocumentsMetadata,
    ImportDocumentsRequest,
    OperationState,
    Progress,
)
from google.longrunning import operations_pb2

ADMIN = "google.firestore.admin.v1.FirestoreAdmin"
OPERATIONS = "google.longrunning.Operations"
PAGE = 2  # operations in one answer


@dataclass(slots=True)
class AdminServer:
    """`looks`: how often an operation is asked for before it is done; None: it never is.

    `will`: what the next calls end with, one each, then OK. `fails`: how operations end. `unheard`: the next
    export begins, and its caller is told that it is not known.
    """

    looks: int | None = 1
    fails: str = ""
    unheard: bool = False
    address: str = ""
    exports: list[Any] = field(default_factory=list)
    imports: list[Any] = field(default_factory=list)
    operations: dict[str, Any] = field(default_factory=dict)
    _looked: dict[str, int] = field(default_factory=dict)
    _will: deque[grpc.StatusCode] = field(default_factory=deque)

    def will(self, *codes: grpc.StatusCode) -> None:
        self._will.extend(codes)

    async def export(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        await self._maybe_fail(context)
        self.exports.append(request)
        told = ExportDocumentsMetadata(
            output_uri_prefix=request.output_uri_prefix,
            snapshot_time=ExportDocumentsRequest(request).snapshot_time,
            operation_state=OperationState.PROCESSING,
        )
        operation = self._begin(request.name, ExportDocumentsMetadata.pb(told))
        if self.unheard:
            self.unheard = False
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost")
        return operation

    async def import_(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        await self._maybe_fail(context)
        self.imports.append(request)
        told = ImportDocumentsMetadata(input_uri_prefix=request.input_uri_prefix)
        return self._begin(request.name, ImportDocumentsMetadata.pb(told))

    def _begin(self, database: str, metadata: Any) -> Any:
        name = f"{database}/operations/{len(self.operations) + 1:04}"
        operation = operations_pb2.Operation(name=name)
        operation.metadata.Pack(metadata)
        self.operations[name] = operation
        if self.looks == 0:
            self._end(operation)
        return operation

    async def get(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        await self._maybe_fail(context)
        operation = self.operations[request.name]
        self._looked[request.name] = self._looked.get(request.name, 0) + 1
        if self.looks is not None and self._looked[request.name] >= self.looks:
            self._end(operation)
        return operation

    async def list(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        await self._maybe_fail(context)
        found = [
            one for name, one in self.operations.items() if name.startswith(f"{request.name}/operations/")
        ]
        start = int(request.page_token or 0)
        more = str(start + PAGE) if start + PAGE < len(found) else ""
        return operations_pb2.ListOperationsResponse(
            operations=found[start : start + PAGE], next_page_token=more
        )

    def end_all(self) -> None:
        """Every operation is done."""
        for operation in self.operations.values():
            self._end(operation)

    def _end(self, operation: Any) -> None:
        operation.done = True
        if self.fails:
            operation.error.code, operation.error.message = grpc.StatusCode.INTERNAL.value[0], self.fails
            return
        told = ExportDocumentsMetadata()
        if operation.metadata.Is(ExportDocumentsMetadata.pb(told).DESCRIPTOR):
            operation.metadata.Unpack(ExportDocumentsMetadata.pb(told))
            told.progress_bytes = Progress(completed_work=1000 if "/data/" in told.output_uri_prefix else 10)
            operation.metadata.Pack(ExportDocumentsMetadata.pb(told))

    async def _maybe_fail(self, context: grpc.aio.ServicerContext) -> None:
        if self._will and (code := self._will.popleft()) is not grpc.StatusCode.OK:
            await context.abort(code, "told to")


def _method(work: Any, request: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        work,
        request_deserializer=request.FromString,
        response_serializer=lambda answer: answer.SerializeToString(),
    )


@asynccontextmanager
async def serving(admin: AdminServer) -> AsyncIterator[AdminServer]:
    """The server at `admin.address`."""
    server = grpc.aio.server()
    services = {
        ADMIN: {
            "ExportDocuments": _method(admin.export, ExportDocumentsRequest.pb(ExportDocumentsRequest())),
            "ImportDocuments": _method(admin.import_, ImportDocumentsRequest.pb(ImportDocumentsRequest())),
        },
        OPERATIONS: {
            "GetOperation": _method(admin.get, operations_pb2.GetOperationRequest),
            "ListOperations": _method(admin.list, operations_pb2.ListOperationsRequest),
        },
    }
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items())
    )
    admin.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield admin
    finally:
        await server.stop(None)
