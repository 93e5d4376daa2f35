"""Exports of Firestore databases to Cloud Storage, and imports of them into new databases.

Both are long operations of Google's: one call begins them, others ask how far they are.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any, Final

import grpc
from google.api_core import exceptions as errors
from google.auth.exceptions import GoogleAuthError
from google.cloud.firestore_admin_v1.services.firestore_admin import FirestoreAdminAsyncClient
from google.cloud.firestore_admin_v1.services.firestore_admin.transports import (
    FirestoreAdminGrpcAsyncIOTransport,
)
from google.cloud.firestore_admin_v1.types import (
    ExportDocumentsMetadata,
    ExportDocumentsRequest,
    ImportDocumentsRequest,
)
from google.longrunning import operations_pb2

from events.words import Invalid, Record, Unavailable
from functions.backup.manifest import KINDS, Archive, Kind

_NO_ADMIN_API = (
    "What answers for Firestore here exports nothing: its emulator has no Admin API. Take backups of a "
    "database of Google's."
)
_HOST: Final = "firestore.googleapis.com:443"
_PASSING: Final = (
    errors.Aborted,
    errors.DeadlineExceeded,
    errors.InternalServerError,
    errors.ResourceExhausted,
    errors.ServiceUnavailable,
    errors.Unknown,
)


class Place(Record):
    """Where a database is and where its exports go: an id, and a `gs://bucket/folder` without a slash at
    its end.
    """

    database: str
    prefix: str

    def of(self, backup_id: str) -> str:
        """Where the export of one backup lies."""
        return f"{self.prefix}/{backup_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Times in seconds. `call_s`: for one call. `poll_s`: between two looks. `within_s`: how long is waited
    for an export, less than the bus waits for an answer and than the 300 s after which Cloud Run ends a
    request unless told otherwise; who asks again later finds it.
    """

    call_s: float = 10.0
    poll_s: float = 5.0
    within_s: float = 270.0


def connect(address: str | None = None) -> FirestoreAdminAsyncClient:
    """Google's client; `address` is the host:port of a server that stands in for the real one.

    Raises `Unavailable` where this machine has no Google identity.
    """
    if address is not None:
        channel = grpc.aio.insecure_channel(address)
    else:
        try:
            channel = FirestoreAdminGrpcAsyncIOTransport.create_channel(_HOST)
        except GoogleAuthError as error:
            raise Unavailable(f"There are no Google credentials for Firestore: {error}") from error
    return FirestoreAdminAsyncClient(transport=FirestoreAdminGrpcAsyncIOTransport(channel=channel))


async def close(api: FirestoreAdminAsyncClient) -> None:
    """Lets go of the connection."""
    transport: Any = api.transport  # its `close` is not typed
    await transport.close()


class FirestoreExports:
    """Backups as exports of both databases, each of one moment: the minute they were due at.

    Who asks for a backup that was begun finds its operation and waits on. What lies in the bucket is
    kept and deleted by the bucket's own rules, so nothing can be deleted here; operations are forgotten
    by Firestore after some days, and with them the list. That an export is whole is proven by importing
    it into a new database and auditing that, which takes an operator with the rights to make one.
    """

    def __init__(
        self,
        api: FirestoreAdminAsyncClient,
        project: str,
        places: Mapping[Kind, Place],
        patience: Patience = Patience(),
    ) -> None:
        self._api = api
        self._project = project
        self._places = places
        self._patience = patience

    async def take(self, backup_id: str, at: datetime) -> list[Archive] | None:
        """Exports both databases, or finds them exported; None where that still goes on, or where it is not
        known how far it is. Raises `Invalid` where Google refuses it, or it failed.
        """
        try:
            begun = {kind: await self._begun(kind, backup_id, at) for kind in KINDS}
            return await self._ended(begun)
        except _PASSING:
            return None
        except errors.MethodNotImplemented as error:
            raise Invalid(_NO_ADMIN_API) from error
        except errors.GoogleAPICallError as error:
            raise Invalid(f"Firestore did not export the databases: {error.message}") from error

    async def _begun(self, kind: Kind, backup_id: str, at: datetime) -> operations_pb2.Operation:
        place = self._places[kind]
        target = place.of(backup_id)
        async for operation, told in self._operations(place):
            if told.output_uri_prefix == target:
                return operation
        request = ExportDocumentsRequest(
            name=self._name(place.database),
            output_uri_prefix=target,
            # Only an export of a whole minute in the past shows one moment.
            snapshot_time=at.replace(second=0, microsecond=0),
        )
        began = await self._api.export_documents(request, retry=None, timeout=self._patience.call_s)
        return await _operation(began)

    async def _ended(self, begun: Mapping[Kind, operations_pb2.Operation]) -> list[Archive] | None:
        end = monotonic() + self._patience.within_s
        archives: list[Archive] = []
        for kind, operation in begun.items():
            done = await self._finish(operation, end)
            if done is None:
                return None
            archives.append(_archive(kind, self._places[kind], _exported(done)))
        return archives

    async def _finish(
        self, operation: operations_pb2.Operation, end: float
    ) -> operations_pb2.Operation | None:
        """The operation once it is done; None where it is not by `end`. Raises `Invalid` where it failed."""
        while not operation.done:
            if monotonic() + self._patience.poll_s > end:
                return None
            await asyncio.sleep(self._patience.poll_s)
            operation = await self._look(operation)
        if operation.error.code:
            raise Invalid(f"{operation.name} failed: {operation.error.message}")
        return operation

    async def _look(self, operation: operations_pb2.Operation) -> operations_pb2.Operation:
        request = operations_pb2.GetOperationRequest(name=operation.name)
        try:
            return await self._api.get_operation(request, retry=None, timeout=self._patience.call_s)
        except _PASSING:
            return operation

    async def _operations(
        self, place: Place
    ) -> AsyncIterator[tuple[operations_pb2.Operation, ExportDocumentsMetadata]]:
        """The exports of a database that Firestore remembers, page by page."""
        request = operations_pb2.ListOperationsRequest(name=self._name(place.database))
        while True:
            page = await self._api.list_operations(request, retry=None, timeout=self._patience.call_s)
            for operation in page.operations:
                if operation.metadata.Is(ExportDocumentsMetadata.pb(ExportDocumentsMetadata()).DESCRIPTOR):
                    yield operation, _exported(operation)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def kept(self) -> list[Archive]:
        """The exports that Firestore remembers to have ended well, oldest first. Raises `Unavailable`."""
        found: list[Archive] = []
        try:
            for kind, place in self._places.items():
                async for operation, told in self._operations(place):
                    ours = told.output_uri_prefix.startswith(f"{place.prefix}/")
                    if ours and operation.done and not operation.error.code:
                        found.append(_archive(kind, place, told))
        except errors.MethodNotImplemented as error:
            raise Invalid(_NO_ADMIN_API) from error
        except errors.GoogleAPICallError as error:
            raise Unavailable(f"Firestore did not list its exports: {error.message}") from error
        return sorted(found, key=lambda archive: (archive.backup_id, archive.kind))

    async def delete(self, archives: Sequence[Archive]) -> None:
        """Raises `Invalid`: only the bucket's own rules delete."""
        if archives:
            raise Invalid("Exports are deleted by the lifecycle rules of their bucket.")

    async def bring_back(self, kind: Kind, backup_id: str, database: str) -> None:
        """Imports an export into an empty database made for it, and waits for the end.

        Raises `Invalid` where the database is one of those in use, or where Google refuses it or it failed;
        `Unavailable` where the end was not seen: the import may go on.
        """
        if database in {place.database for place in self._places.values()}:
            raise Invalid(
                f"The database {database} is in use. Name a new one: an import overwrites what is there."
            )
        request = ImportDocumentsRequest(
            name=self._name(database), input_uri_prefix=self._places[kind].of(backup_id)
        )
        try:
            began = await self._api.import_documents(request, retry=None, timeout=self._patience.call_s)
            operation = await _operation(began)
            done = await self._finish(operation, monotonic() + self._patience.within_s)
        except errors.GoogleAPICallError as error:
            kind_of = Unavailable if isinstance(error, _PASSING) else Invalid
            raise kind_of(f"Firestore did not import {backup_id}: {error.message}") from error
        if done is None:
            raise Unavailable(f"{operation.name} goes on: look for its end before the database is used.")

    def _name(self, database: str) -> str:
        return f"projects/{self._project}/databases/{database}"


async def _operation(began: Any) -> operations_pb2.Operation:
    """What Google's own `AsyncOperation`, which is not typed, holds; what became of it is looked at here."""
    operation: operations_pb2.Operation = began.operation
    if operation.done:
        await began.exception()  # or the event loop complains that nobody asked
    return operation


def _exported(operation: operations_pb2.Operation) -> ExportDocumentsMetadata:
    told = ExportDocumentsMetadata()
    operation.metadata.Unpack(ExportDocumentsMetadata.pb(told))
    return told


def _archive(kind: Kind, place: Place, told: ExportDocumentsMetadata) -> Archive:
    moment = told.snapshot_time or told.start_time
    return Archive(
        kind=kind,
        backup_id=told.output_uri_prefix.removeprefix(f"{place.prefix}/"),
        taken_at=datetime.fromtimestamp(moment.timestamp(), moment.tzinfo),
        bytes=told.progress_bytes.completed_work,
    )
