"""The whole platform in one process on SQLite: the wiring of `penstock up`."""

import asyncio
import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from events.catalog import JOBS, Subscription, subscriptions
from events.words import Record
from services.adapters.local.folder import DataFolder, Running
from services.adapters.sqlite.bus import SqliteBus
from services.configuration.feed import ConfigFeed
from services.delivery.consumer import Consumer, Decode
from services.delivery.handling import Handle
from services.dispatcher.dispatcher import Dispatcher
from services.embedded.ingest import LocalIngest
from services.embedded.scheduler import Scheduler
from services.embedded.workers import Workers
from services.guarding.guard import Guard
from services.jobs.starts import event_of
from services.requests.ingest import ingest_envelope
from services.router.credentials import digest
from services.router.metrics import Metrics
from services.runtime import backends, backups, configuration, first_start, functions, gauges
from services.runtime.process import Process, utc_now
from services.runtime.serving import RouterService, Surroundings
from services.runtime.settings import Settings, shown
from services.runtime.stores import open_local
from services.runtime.telemetry import Wish, read_wish, telemetry

# On the bus of one process no app can listen: answers are read by their id, and never lie there in clear.
SUBSCRIPTIONS = tuple(one for one in subscriptions() if one.consumer != "delivery")
CONFIG_LOOK_S = 5.0
GATHERS_S = {"usage-recorded-v1.metering": 0.05}  # nobody waits for the sums

log = logging.getLogger("penstock.local")


class Part(Record):
    """A process of a platform; `port` is None where nobody calls it."""

    name: str
    pid: int
    port: int | None

    @property
    def at(self) -> str:
        """Where it listens, for people."""
        return f"port {self.port}" if self.port else "listens nowhere"


class Started(Record):
    """Where a platform serves, the development key, and what answers; `parts` where it has several
    processes.
    """

    url: str
    metrics_url: str
    key: str
    engine: str
    models: tuple[str, ...]
    parts: tuple[Part, ...] = ()


class LocalPlatform:
    """Router, functions, dispatcher and scheduler on one data folder; `start` once, `stop` once. `guard`: who
    judges prompts and watches answers; None: nobody.
    """

    def __init__(self, settings: Settings, wish: Wish | None = None, guard: Guard | None = None) -> None:
        self._settings = settings
        self._wish = wish or read_wish()
        self._guard = guard
        self._stack = AsyncExitStack()  # undoes what was begun, in the reverse order
        self._grace_s = 0.0  # for calls under way, once it is stopped

    async def start(self) -> Started:
        """Brings everything up, in the order things need each other. What fails undoes the rest."""
        try:
            return await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def stop(self) -> None:
        """Drains: no new calls, those under way end within `drain_s` or are ended in-band."""
        self._grace_s = self._settings.drain_s
        await self._stack.aclose()

    async def _start(self) -> Started:
        settings = self._settings
        log.info("settings: %s", shown(settings))
        producer = secrets.token_hex(8)
        told = telemetry(
            settings, self._wish, service="penstock", instance=producer, system="penstock", stack=self._stack
        )
        folder = self._take_folder()
        stores, bus = await open_local(folder, utc_now, self._stack)
        feed = ConfigFeed(stores.config, configuration.lacking_here, backends.pools())
        self._stack.callback(feed.close)
        chosen = await configuration.begin(feed, settings, self._stack)
        key = await first_start.development_key(folder.path, settings, stores.keys, utc_now)
        await bus.ensure(SUBSCRIPTIONS)  # before anything is published
        process = Process(
            settings=settings,
            stores=stores,
            publisher=told.publisher(bus),
            feed=feed,
            producer=producer,
            telemetry=told,
            guard=self._guard,
        )
        router = await self._run(process, bus, first_start.admin_key(folder.path, settings))
        folder.announce(Running(url=router.url, metrics_url=router.metrics_url, pid=os.getpid()))
        self._stack.callback(folder.withdraw)  # while the port is still ours
        return Started(
            url=router.url,
            metrics_url=router.metrics_url,
            key=key or "",
            engine=chosen.engine,
            models=tuple(sorted(chosen.config.models)),
        )

    def _take_folder(self) -> DataFolder:
        folder = DataFolder(Path(self._settings.data_dir))
        folder.prepare()
        folder.lock()
        self._stack.callback(folder.unlock)
        return folder

    async def _run(self, process: Process, bus: SqliteBus, admin_key: str) -> RouterService:
        workers = Workers()
        self._stack.push_async_callback(workers.stop)
        recorder = process.recorder("/router")
        self._stack.push_async_callback(recorder.close)
        metrics = Metrics({})
        dispatcher = functions.dispatcher(process, recorder, metrics)
        pressure = functions.pressure_reporter(process, dispatcher)
        metrics.gauges |= gauges.queue(lambda: pressure.last) | {"queue_running": lambda: dispatcher.running}
        archives = backups.archives_of(self._settings, process.now)
        handlers = {
            **functions.handlers(process),
            "backup": functions.backup_handler(archives, backups.keep_of(self._settings)),
            "dispatcher": dispatcher.handle,
        }
        once = functions.run_once(process)
        told = process.telemetry
        handlers = {name: told.handle(name, once.guard(handle)) for name, handle in handlers.items()}
        consumers = Consumers(process, bus, workers, handlers)
        scheduler = Scheduler(
            bus, JOBS, now=utc_now, runs=process.stores.job_runs, every_s=self._settings.job_every_s
        )
        ingest = LocalIngest(process.ingest(), bus, consumers.run_ingest)
        router = RouterService(
            process,
            recorder,
            Surroundings(
                admin_key_hash=digest(admin_key),
                conversation=bus,
                dead_letters=bus,
                ingest=ingest,
                jobs=scheduler.jobs,
                alone=True,
                backups=backups.told_of(archives, self._settings),
            ),
            metrics,
            {"workers": workers.missing, "dispatcher": dispatcher.missing},
        )
        self._stack.push_async_callback(self._drain, router, dispatcher)
        await router.listen()  # first: where the port is taken, nothing has been run
        # Before its sweep can be due: both would free the claims of the dead.
        await dispatcher.start(alone=True)
        consumers.run_all()
        for tenant in await process.stores.keys.tenants():
            await ingest.open(tenant.id)
        workers.start(scheduler.run(), "scheduler")
        workers.start(pressure.run(), "pressure")
        told.send(metrics.read, workers, self._stack)
        router.start(workers)
        workers.start(process.feed.follow(CONFIG_LOOK_S), "configuration")
        return router

    async def _drain(self, router: RouterService, dispatcher: Dispatcher) -> None:
        await asyncio.gather(router.drain(self._grace_s), dispatcher.stop(self._grace_s))


class Consumers:
    """The workers that bring the bus's messages to `handlers`: the functions and the dispatcher, by name."""

    def __init__(
        self, process: Process, bus: SqliteBus, workers: Workers, handlers: Mapping[str, Handle]
    ) -> None:
        self._bus = bus
        self._publisher = process.publisher
        self._workers = workers
        self._now = process.now
        self._handlers = handlers

    def run_all(self) -> None:
        """Those of the catalogue's subscriptions that have a consumer here."""
        for subscription in SUBSCRIPTIONS:
            self._run(subscription, event_of)

    def run_ingest(self, tenant: str, subscription: Subscription) -> None:
        """The one of a tenant's ingest topic."""
        self._run(subscription, lambda message: ingest_envelope(tenant, message, self._now()))

    def _run(self, subscription: Subscription, decode: Decode) -> None:
        consumer = Consumer(
            self._bus,
            self._publisher,
            subscription,
            self._handlers[subscription.consumer],
            source=f"/functions/{subscription.consumer}",
            decode=decode,
            gathers_s=GATHERS_S.get(subscription.name, 0.0),
        )
        self._workers.start(consumer.run(), subscription.name)
