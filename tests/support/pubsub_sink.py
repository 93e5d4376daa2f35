"""A server that takes publications as Pub/Sub does, counts them and forgets them.

For measurements, `python -m tests.support.pubsub_sink --port 8085` runs until it is interrupted and
prints what it counted; for tests of failures, `PubSubSink` does what it is told to. Needs grpcio.
"""

import argparse
import asyncio
import signal
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import msgspec

from events.usage import UsageRecorded
from services.adapters.pubsub.messages import PublishRequest, PublishResponse

USAGE = "penstock.usage.recorded.v1"


@dataclass
class PubSubSink:
    """`will`: what the next calls end with, one each, then OK. `delay_s`: before every answer.

    `pages`: usage pages are opened, and their records counted by kind, a page that came twice once.
    `takes` hears of each page once. `keep`: requests stay readable in `requests`.
    """

    delay_s: float = 0.0
    pages: bool = False
    keep: bool = False
    takes: Callable[[UsageRecorded], None] | None = None
    address: str = ""
    calls: int = 0
    messages: Counter[str] = field(default_factory=Counter)  # by topic
    bytes: int = 0
    records: Counter[str] = field(default_factory=Counter)  # by kind
    requests: list[Any] = field(default_factory=list)
    _will: deque[grpc.StatusCode] = field(default_factory=deque)
    _pages: set[str] = field(default_factory=set)

    def will(self, *codes: grpc.StatusCode) -> None:
        self._will.extend(codes)

    async def publish(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        self.calls += 1
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self._will and (code := self._will.popleft()) is not grpc.StatusCode.OK:
            await context.abort(code, f"told to, for {request.messages[0].data[:100]!r}")
        self._count(request)
        first = sum(self.messages.values())
        return PublishResponse(message_ids=[str(first + number) for number in range(len(request.messages))])

    def _count(self, request: Any) -> None:
        self.messages[request.topic.rpartition("/")[2]] += len(request.messages)
        self.bytes += request.ByteSize()
        if self.keep:
            self.requests.append(request)
        for message in request.messages if self.pages else ():
            page = message.attributes["ce-id"]
            if message.attributes["ce-type"] == USAGE and page not in self._pages:
                self._pages.add(page)
                recorded = msgspec.json.decode(message.data, type=UsageRecorded)
                self.records.update(type(record).__name__.lower() for record in recorded.records)
                if self.takes is not None:
                    self.takes(recorded)

    def counts(self) -> dict[str, Any]:
        """What came so far."""
        return {
            "calls": self.calls,
            "messages": dict(self.messages),
            "bytes": self.bytes,
            "pages": len(self._pages),
            "records": dict(self.records),
        }


@asynccontextmanager
async def serving(sink: PubSubSink, port: int = 0) -> AsyncIterator[PubSubSink]:
    """The sink at `sink.address`."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)])
    publish = grpc.unary_unary_rpc_method_handler(
        sink.publish, PublishRequest.FromString, PublishResponse.SerializeToString
    )
    handlers = grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", {"Publish": publish})
    server.add_generic_rpc_handlers((handlers,))
    sink.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    await server.start()
    try:
        yield sink
    finally:
        await server.stop(None)


async def main() -> None:
    parser = argparse.ArgumentParser(description="Takes publications, counts them and forgets them.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="before every answer")
    parser.add_argument("--pages", action="store_true", help="opens usage pages and counts their records")
    options = parser.parse_args()
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    sink = PubSubSink(delay_s=options.delay_ms / 1000, pages=options.pages)
    async with serving(sink, options.port):
        print(sink.address, flush=True)
        await stopped.wait()
    print(msgspec.json.encode(sink.counts()).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
