"""A server that lets a stream of messages end as a test wants, and hears the answers to them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from services.adapters.pubsub import messages as wire

Script = Callable[["ScriptedServer", grpc.aio.ServicerContext], AsyncIterator[Any]]


def delivery(*deliveries: tuple[str, str], data: bytes = b"") -> Any:
    """Deliveries: message ids, each beside its ack id."""
    response = wire.StreamingPullResponse()
    for message_id, ack_id in deliveries:
        message = wire.PubsubMessage(message_id=message_id, data=data or message_id.encode())
        response.received_messages.add(ack_id=ack_id, message=message)
    return response


def ends(code: grpc.StatusCode, *responses: Any) -> Script:
    async def script(server: "ScriptedServer", context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        for response in responses:
            yield response
        if code is not grpc.StatusCode.OK:
            await context.abort(code, "told to")

    return script


def stays(*responses: Any) -> Script:
    """Sends these, and then what `server.more` brings, until its client wants no more."""

    async def script(server: "ScriptedServer", context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        for response in responses:
            server.sent += 1
            yield response
        while (response := await server.more.get()) is not None:
            yield response

    return script


@dataclass
class ScriptedServer:
    """Each stream takes the next script; the last one stays. Answers fail with the next code of `will`."""

    scripts: list[Script]
    address: str = ""
    opened: list[Any] = field(default_factory=list)  # the first request of each stream
    sent: int = 0
    more: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    acked: list[list[str]] = field(default_factory=list)  # ack ids, by call
    modified: list[tuple[int, list[str]]] = field(default_factory=list)
    will: list[grpc.StatusCode] = field(default_factory=list)
    delay_s: float = 0.0

    async def pull(
        self, requests: AsyncIterator[Any], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Any]:
        self.opened.append(await anext(requests))
        script = self.scripts[min(len(self.opened), len(self.scripts)) - 1]
        reading = asyncio.create_task(self._read(requests))
        try:
            async for response in script(self, context):
                yield response
        finally:
            reading.cancel()

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        with suppress(grpc.aio.BaseError):
            async for _ in requests:
                pass
            await self.more.put(None)  # half-closed: what stays ends

    async def acknowledge(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        self.acked.append(list(request.ack_ids))
        return await self._answer(context)

    async def modify(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        self.modified.append((request.ack_deadline_seconds, list(request.ack_ids)))
        return await self._answer(context)

    async def _answer(self, context: grpc.aio.ServicerContext) -> Any:
        await asyncio.sleep(self.delay_s)
        if self.will:
            await context.abort(self.will.pop(0), "told to")
        return wire.Empty()


@asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[ScriptedServer]:
    served = ScriptedServer(list(scripts))
    server = grpc.aio.server()
    methods = {
        "StreamingPull": grpc.stream_stream_rpc_method_handler(
            served.pull, wire.StreamingPullRequest.FromString, wire.StreamingPullResponse.SerializeToString
        ),
        "Acknowledge": grpc.unary_unary_rpc_method_handler(
            served.acknowledge, wire.AcknowledgeRequest.FromString, wire.Empty.SerializeToString
        ),
        "ModifyAckDeadline": grpc.unary_unary_rpc_method_handler(
            served.modify, wire.ModifyAckDeadlineRequest.FromString, wire.Empty.SerializeToString
        ),
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", methods),)
    )
    served.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield served
    finally:
        await server.stop(None)


def flat(calls: Iterable[list[str]]) -> list[str]:
    return [ack_id for call in calls for ack_id in call]
