"""A cloud platform on this machine, on the official emulators, with an edge around each of its processes."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc.aio
import msgspec

from events.catalog import JOBS, ingest_key
from events.words import ApiKey, Tenant
from services.adapters import emulators
from services.adapters.emulators import FIRESTORE, PUBSUB, free_port
from services.adapters.firestore import database as firestore
from services.adapters.firestore.config_documents import FirestoreConfigDocuments
from services.adapters.firestore.job_runs import FirestoreJobRuns
from services.adapters.firestore.keys import FirestoreKeys
from services.adapters.firestore.ledger import FirestoreUsageLedger
from services.adapters.local.master_key import FileMasterKey
from services.adapters.pubsub.connection import Place
from services.adapters.pubsub.publisher import PubSubPublisher
from services.embedded.engines import Engine, config_of
from services.embedded.workers import Workers
from services.jobs.starts import by_hand, named, start
from services.router.credentials import digest, mint, public_id
from services.runtime import cloud_topics
from services.runtime.children import Child
from services.runtime.process import utc_now
from services.runtime.topology import FUNCTIONS
from tests.cost.counts import Counts
from tests.cost.edge import Edge, edges
from tests.cost.load import MODEL

RUNNING = [name for name in FUNCTIONS if name != "backup"]  # no requests, and the emulator exports nothing
PROJECT = "cost"
STARTS_WITHIN_S = 120.0
ENDS_WITHIN_S = 15.0
LOOK_EVERY_S = 0.3
PATIENCE_S = 180.0
LOOKING_ON = firestore.Patience(attempt_s=30.0, total_s=60.0)  # the sums of many tenants are many documents


class Site:
    """`edges` by the names of the processes; `keys` of the tenants, in their order. What is done in `later`
    counts as the dispatcher's.
    """

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.keys: list[str] = []
        self.edges: dict[str, Edge] = {}
        self.ports: dict[str, int] = {}
        self._folder = folder
        self._stack = stack
        self._routers = 0

    async def open(self, tenants: int, profile: str) -> None:
        """Starts everything but routers, for so many tenants; the first three have ingest topics."""
        FileMasterKey(self._folder / "master-key")
        self._firestore = await self._emulator(FIRESTORE)
        self._pubsub = await self._emulator(PUBSUB)
        self._make_edge = await self._stack.enter_async_context(edges(self._firestore, self._pubsub))
        api = firestore.connect(self._firestore)
        self._stack.push_async_callback(firestore.close, api)
        self.database = firestore.Database.on_emulator(api, PROJECT, patience=LOOKING_ON)
        self.ledger = FirestoreUsageLedger(self.database, utc_now)
        await self._configure(profile)
        await self._admit(tenants)
        self.ports = {name: free_port() for name in FUNCTIONS}
        await asyncio.to_thread(self._make_topics)
        await asyncio.gather(*(self._function(name) for name in RUNNING), self._dispatcher())
        self.later = self.database_at(await self.edge("dispatcher-later"))
        self.app = await self._publisher("app")
        self.scheduler = await self._publisher("scheduler")

    async def _emulator(self, kind: emulators.Kind) -> str:
        emulator = await asyncio.to_thread(emulators.start, kind)
        self._stack.callback(emulator.end)
        return emulator.address

    async def _configure(self, profile: str) -> None:
        port = free_port()
        command = (sys.executable, "-P", "-m", "services.cli.main", "engine")
        await self._child("engine", (*command, "--profile", profile, "--port", str(port)), {}, port)
        engine = Engine(name="rehearsal", url=f"http://127.0.0.1:{port}", models=(MODEL,))
        config = msgspec.json.encode(config_of(engine, rehearsal=True))
        await FirestoreConfigDocuments(self.database, utc_now).publish(config, 0)

    async def _admit(self, tenants: int) -> None:
        ring = FirestoreKeys(self.database)
        for number in range(tenants):
            name, key, now = f"t{number}", mint(), utc_now()
            await ring.add_tenant(Tenant(id=name, name=name, created_at=now))
            await ring.add(ApiKey(hash=digest(key), id=public_id(key), tenant=name, name="", created_at=now))
            self.keys.append(key)
        for tenant in self.ingesting:
            await ring.add(ingest_key(tenant, utc_now()))

    @property
    def ingesting(self) -> list[str]:
        """The tenants that have an ingest topic."""
        return [f"t{number}" for number in range(min(3, len(self.keys)))]

    def _make_topics(self) -> None:
        wish = cloud_topics.Wish(
            push={name: f"http://127.0.0.1:{port}" for name, port in self.ports.items()},
            tenants=self.ingesting,
        )
        cloud_topics.apply(Place(project=PROJECT, emulator=self._pubsub), wish, dry_run=False)

    async def _function(self, name: str) -> None:
        spec = find_spec(f"functions.{name}.main")
        assert spec is not None and spec.origin is not None
        port = self.ports[name]
        command = (sys.executable, "-P", "-m", "functions_framework", "--source", spec.origin)
        options = ("--target", "main", "--host", "127.0.0.1", f"--port={port}")
        edge = await self.edge(name)
        await self._child(name, (*command, *options), _at(edge.address, edge.address), port)

    async def _dispatcher(self) -> None:
        edge = await self.edge("dispatcher")
        port = free_port()
        command = (
            sys.executable,
            "-P",
            "-m",
            "services.cli.main",
            "serve",
            "dispatcher",
            "--port",
            str(port),
        )
        await self._child("dispatcher", command, _at(edge.address, edge.address), port)

    @asynccontextmanager
    async def router(self, pubsub: str = "", **settings: str) -> AsyncIterator[tuple[int, Edge]]:
        """A router, its port and its edge; it publishes to another Pub/Sub where one is named."""
        self._routers += 1
        name, port = f"router-{self._routers}", free_port()
        edge = await self.edge(name)
        command = (sys.executable, "-P", "-m", "services.cli.main", "serve", "router", "--port", str(port))
        environment = _at(edge.address, pubsub or edge.address) | settings
        async with AsyncExitStack() as stack:
            await self._child(name, command, environment, port, stack)
            yield port, edge

    async def _child(
        self,
        name: str,
        command: tuple[str, ...],
        environment: Mapping[str, str],
        port: int | None,
        stack: AsyncExitStack | None = None,
    ) -> None:
        """Runs until the stack ends it."""
        stack = stack or self._stack
        common = {
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "PENSTOCK_MASTER_KEY_FILE": str(self._folder / "master-key"),
        }
        log = self._folder / f"{name}.log"
        child = Child(name=name, command=command, environment={**common, **environment}, log=log, port=port)
        workers = Workers()
        stack.push_async_callback(child.end, ENDS_WITHIN_S)
        stack.push_async_callback(workers.stop)
        workers.start(child.run(), name)
        if port is not None:
            await child.listens(STARTS_WITHIN_S)

    async def edge(self, name: str) -> Edge:
        """A new one, for somebody of that name."""
        edge: Edge = await self._make_edge()
        self.edges[name] = edge
        return edge

    async def _publisher(self, name: str) -> PubSubPublisher:
        edge = await self.edge(name)
        channel = grpc.aio.insecure_channel(edge.address)
        self._stack.push_async_callback(channel.close)
        return PubSubPublisher(channel, Place(project=PROJECT))

    # --- what is done and asked there

    def counted(self) -> dict[str, Counts]:
        """What each process has done so far."""
        return {name: edge.counts.copy() for name, edge in self.edges.items()}

    def database_at(self, edge: Edge) -> firestore.Database:
        """The database, so that it is counted what is done there."""
        api = firestore.connect(edge.address)
        self._stack.push_async_callback(firestore.close, api)
        return firestore.Database.on_emulator(api, PROJECT, patience=LOOKING_ON)

    def keep_keys(self, number: int) -> Path:
        """A file with the keys of the first tenants."""
        path = self._folder / "keys"
        path.write_text("\n".join(self.keys[:number]))
        return path

    async def run_job(self, name: str) -> None:
        """Starts a job through its topic, and waits until it ended well."""
        job, now = named(name, JOBS), utc_now()
        message = start(job, by_hand(job, now), now)
        await self.scheduler.publish([message])
        records = FirestoreJobRuns(self.database)

        async def ended() -> bool:
            record, _ = await records.get(name)
            return any(run.slot == now and run.outcome == "finished" for run in record.runs)

        await until(ended, f"the job {name} ends")

    async def billed(self) -> int:
        """How many requests the sums hold."""
        return sum(line.requests for line in await self.ledger.usage())


async def until(reached: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> None:
    """Waits until something holds. Raises `TimeoutError`."""
    async with asyncio.timeout(within_s):
        while not await reached():
            await asyncio.sleep(LOOK_EVERY_S)


def _at(firestore_address: str, pubsub_address: str) -> dict[str, str]:
    return {"FIRESTORE_EMULATOR_HOST": firestore_address, "PUBSUB_EMULATOR_HOST": pubsub_address}


@asynccontextmanager
async def site(folder: Path, *, tenants: int = 3, profile: str = "quick") -> AsyncIterator[Site]:
    """A platform for so many tenants."""
    async with AsyncExitStack() as stack:
        made = Site(folder, stack)
        await made.open(tenants, profile)
        yield made
