"""A Google Cloud as a router needs it: Firestore's official emulator, and a Pub/Sub that acks and counts.

python -m tests.bench.programs.cloud CONFIG

CONFIG is a file with the configuration document, as JSON. It prints `Ready` as a line of JSON. Whoever
connects to `books` gets `Counted` as a line of JSON.
"""

import argparse
import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from events.usage import UsageRecorded
from events.words import ApiKey, Tenant
from functions.metering.bill import increments
from services.adapters import emulators
from services.adapters.firestore import database as firestore
from services.adapters.firestore.config_documents import FirestoreConfigDocuments
from services.adapters.firestore.keys import FirestoreKeys
from services.router.credentials import digest, mint, public_id
from services.runtime.process import utc_now
from tests.bench.results import Counted, Ready
from tests.support.pubsub_sink import PubSubSink, serving

PROJECT = "bench"


def add(counted: Counted, page: UsageRecorded) -> None:
    """Counts a page that was not counted before."""
    counted.pages += 1
    for one in increments(page.records):
        counted.requests += one.requests
        counted.input += one.usage.input
        counted.output += one.usage.output
        counted.estimated += one.estimated


async def prepared(address: str, config: bytes) -> str:
    """Puts a configuration document and a tenant into Firestore; its key is returned."""
    api = firestore.connect(address)
    try:
        database = firestore.Database.on_emulator(api, PROJECT)
        await FirestoreConfigDocuments(database, utc_now).publish(config, 0)
        ring, key, now = FirestoreKeys(database), mint(), utc_now()
        await ring.add_tenant(Tenant(id="bench", name="bench", created_at=now))
        await ring.add(ApiKey(hash=digest(key), id=public_id(key), tenant="bench", name="", created_at=now))
        return key
    finally:
        await firestore.close(api)


@asynccontextmanager
async def books(sink: PubSubSink) -> AsyncIterator[str]:
    """Tells everybody who connects what the sink counted."""
    counted = Counted()
    sink.takes = partial(add, counted)

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counted.calls = sink.calls
        writer.write(msgspec.json.encode(counted) + b"\n")
        writer.close()

    async with await asyncio.start_server(tell, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"127.0.0.1:{port}"


async def main() -> None:
    """Runs until it is told to end."""
    parser = argparse.ArgumentParser(description="Firestore's emulator, and a Pub/Sub that acks and counts.")
    parser.add_argument("config", type=Path, help="the configuration document, as JSON")
    options = parser.parse_args()
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    async with AsyncExitStack() as stack:
        emulator = emulators.start(emulators.FIRESTORE)
        stack.callback(emulator.end)
        key = await prepared(emulator.address, options.config.read_bytes())
        sink = await stack.enter_async_context(serving(PubSubSink(pages=True)))
        counted = await stack.enter_async_context(books(sink))
        ready = Ready(firestore=emulator.address, pubsub=sink.address, books=counted, key=key)
        print(msgspec.json.encode(ready).decode(), flush=True)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main())
