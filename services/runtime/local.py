"""The whole platform in one process on SQLite: the wiring of `penstock up`."""

import asyncio
import errno
import logging
import os
import secrets
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random

from events.bus import Message
from events.catalog import JOBS, Subscription, subscriptions
from events.config import Config
from events.envelope import Envelope
from events.words import Conflict, Invalid, Record
from functions.metering import handler as metering
from functions.request import handler as request
from functions.request.admission import CHAT
from functions.request.intake import Terms
from functions.routing import handler as routing
from services.adapters.local.folder import DataFolder, Running
from services.adapters.memory.attempt_counts import NoAttemptCounts
from services.dispatcher.dispatcher import Dispatcher
from services.dispatcher.ports import Pace
from services.dispatcher.ports import Ports as DispatcherPorts
from services.embedded.consumer import Consumer, Handle
from services.embedded.ingest import LocalIngest, ingest_envelope
from services.embedded.scheduler import Scheduler
from services.embedded.workers import Workers
from services.front.front import Front
from services.front.limits import Budget, Limits
from services.pool.pool import Pool
from services.router.admin import AdminApi
from services.router.api import PublicApi, application
from services.router.chat import Chat
from services.router.credentials import digest
from services.router.exchanges import Exchanges
from services.router.exposition import Exposition
from services.router.gate import AdminGate, Gate
from services.router.health import Health
from services.router.keyring import KeyRing
from services.router.metrics import Metrics
from services.router.order import Deadlines
from services.router.queue import RequestQueue
from services.router.router import Router
from services.runtime import configuration, first_start
from services.runtime.settings import Settings, shown
from services.runtime.stores import Stores, open_stores
from services.usage.recorder import Lingers, UsageRecorder
from services.wire.errors import render_refusal

KEY_POLL_S = 5.0
METRICS_PORT = 9090

log = logging.getLogger("penstock.local")


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Started(Record):
    """Where a platform serves, the development key, and what answers."""

    url: str
    metrics_url: str
    key: str
    engine: str
    models: tuple[str, ...]


class LocalPlatform:
    """Router, functions, dispatcher and scheduler on one data folder; `start` once, `stop` once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._workers = Workers()
        self._producer = secrets.token_hex(8)
        self._wired = False
        self._random = Random(secrets.randbits(64))  # noqa: S311  (spreads claims, guards nothing)

    async def start(self) -> Started:
        """Brings everything up, in the order things need each other. What fails undoes the rest."""
        try:
            return await self._start()
        except BaseException:
            await self._end(0)
            raise

    async def _start(self) -> Started:
        settings = self._settings
        log.info("settings: %s", shown(settings))
        folder = DataFolder(Path(settings.data_dir))
        folder.prepare()
        folder.lock()
        self._stack.callback(folder.unlock)
        chosen = await configuration.choose(settings, self._stack)
        self._config = chosen.config
        self._stores = await open_stores(folder, utc_now, self._stack)
        key = first_start.api_key(folder.path, settings)
        await first_start.ensure_tenant(self._stores.keys, key, utc_now)
        self._wire(first_start.admin_key(folder.path, settings))
        self._wired = True
        await self._run_functions()
        port = await self._listen(self._front, settings.port, "--port")
        metrics_port = await self._listen_for_metrics()
        url, metrics_url = self._url(port), self._url(metrics_port)
        folder.announce(Running(url=url, metrics_url=metrics_url, pid=os.getpid()))
        models = tuple(sorted(chosen.config.models))
        return Started(url=url, metrics_url=metrics_url, key=key, engine=chosen.engine, models=models)

    def _url(self, port: int) -> str:
        host = self._settings.host
        shown_host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
        return f"http://{f'[{shown_host}]' if ':' in shown_host else shown_host}:{port}"

    # --- wiring

    def _current(self) -> Config:
        return self._config

    def _wire(self, admin_key: str) -> None:
        settings, stores = self._settings, self._stores
        self._pool = Pool(self._config)
        self._recorder = UsageRecorder(
            stores.bus,
            producer=self._producer,
            source="/router",
            lingers=Lingers(started_s=settings.started_linger_s, other_s=settings.usage_linger_s),
            now=utc_now,
        )
        self._dispatcher = Dispatcher(self._dispatcher_ports(stores), self._random)
        self._metrics = Metrics({})
        self._exchanges = Exchanges(self._recorder, self._metrics, deadlines(settings), now=utc_now)
        self._ring = KeyRing(stores.keys, clock=time.monotonic)
        self._scheduler = Scheduler(stores.bus, JOBS, now=utc_now, every_s=settings.job_every_s)
        self._ingest = LocalIngest(
            stores.bus,
            stores.bus,
            stores.sealer,
            stores.keys,
            consume=self._consume_ingest,
            now=utc_now,
        )
        self._budget = Budget(settings.max_held_bytes)
        self._router = self._make_router(stores, admin_key)
        self._front = self._make_front(self._router, self._budget)
        self._exposition = self._make_front(Exposition(self._metrics), Budget(2**20))
        self._metrics.gauges.update(
            in_flight=lambda: len(self._exchanges.open),
            connections=lambda: self._front.connections,
            held_bytes=lambda: self._budget.used,
            queue_running=lambda: self._dispatcher.running,
        )

    def _make_front(self, endpoint: Router | Exposition, budget: Budget) -> Front:
        limits = Limits(body=self._settings.max_body_bytes)
        return Front(endpoint, render_refusal=render_refusal, limits=limits, budget=budget)

    def _make_router(self, stores: Stores, admin_key: str) -> Router:
        gate = Gate(self._ring, utc_now)
        queue = RequestQueue(
            stores.requests,
            stores.bodies,
            stores.sealer,
            stores.bus,
            config=self._current,
            terms=self._terms(),
            now=utc_now,
        )
        admin = AdminApi(
            AdminGate(digest(admin_key)),
            stores.keys,
            stores.ledger,
            stores.bus,
            ingest=self._ingest.publish,
            run_job=self._scheduler.start,
            changed=self._ring.forget,
            now=utc_now,
        )
        public = PublicApi(gate, queue, self._current, started_at=int(time.time()))
        self._health = Health({"store": self._store_answers})
        app = application([*public.routes(), *admin.routes(), *self._health.routes()])
        chat = Chat(gate, self._current, lambda: self._pool, self._exchanges)
        return Router({CHAT.encode(): chat}, app)

    async def _store_answers(self) -> str | None:
        await self._stores.keys.revision()
        return None

    def _terms(self) -> Terms:
        return Terms(deadline_s=self._settings.queue_deadline_s, keep_s=self._settings.results_kept_s)

    def _dispatcher_ports(self, stores: Stores) -> DispatcherPorts:
        settings = self._settings
        return DispatcherPorts(
            requests=stores.requests,
            bodies=stores.bodies,
            sealer=stores.sealer,
            publisher=stores.bus,
            recorder=self._recorder,
            pool=lambda: self._pool,
            config=self._current,
            now=utc_now,
            owner=self._producer,
            pace=Pace(
                slots=settings.queue_slots,
                lease_s=settings.lease_s,
                heartbeat_s=settings.heartbeat_s,
                total_s=settings.total_timeout_s,
                connect_s=settings.connect_timeout_s,
                failures=settings.queue_failures,
                keep_s=settings.results_kept_s,
            ),
        )

    # --- functions

    def _handlers(self) -> dict[str, Handle]:
        """What consumes the catalogue's subscriptions here, by name."""
        stores = self._stores
        routing_ports = routing.Ports(
            requests=stores.requests, config=self._current, keep_s=self._settings.results_kept_s
        )
        metering_ports = metering.Ports(
            ledger=stores.ledger, counts=NoAttemptCounts(), silent_after_s=self._settings.silent_after_s
        )
        return {
            "routing": partial(routing.handle, ports=routing_ports),
            "metering": partial(metering.handle, ports=metering_ports),
            "dispatcher": self._dispatcher.handle,
        }

    async def _run_functions(self) -> None:
        bus, handlers = self._stores.bus, self._handlers()
        await bus.ensure(subscriptions())
        # Before its sweep can be due: both would free the claims of the dead.
        await self._dispatcher.start(alone=True)
        for subscription in subscriptions():
            consumer = Consumer(
                bus,
                bus,
                subscription,
                handlers[subscription.consumer],
                source=f"/functions/{subscription.consumer}",
            )
            self._workers.start(consumer.run(), subscription.name)
        for tenant in await self._stores.keys.tenants():
            await self._ingest.open(tenant.id)
        self._workers.start(self._scheduler.run(), "scheduler")
        self._workers.start(self._ring.follow(KEY_POLL_S), "key poll")
        self._exchanges.start()
        self._pool.start()

    def _consume_ingest(self, tenant: str, subscription: Subscription) -> None:
        stores = self._stores
        ports = request.Ports(
            requests=stores.requests,
            bodies=stores.bodies,
            sealer=stores.sealer,
            keys=stores.keys,
            config=self._current,
            terms=self._terms(),
        )

        def decode(message: Message) -> Envelope:
            return ingest_envelope(tenant, message, utc_now())

        consumer = Consumer(
            stores.bus,
            stores.bus,
            subscription,
            partial(request.handle, ports=ports),
            source="/functions/request",
            decode=decode,
        )
        self._workers.start(consumer.run(), subscription.name)

    async def _listen(self, front: Front, port: int, option: str) -> int:
        host = self._settings.host
        try:
            return await front.listen(host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Conflict(
                    f"The port {port} on {host} is taken. Stop what uses it, or choose another with {option} "
                    "(0 takes any free one)."
                ) from error
            raise Invalid(f"Nothing can listen on {host}, port {port}: {error.strerror or error}.") from error

    async def _listen_for_metrics(self) -> int:
        """On the port asked for; where none was, on the usual one or any that is free."""
        asked, option = self._settings.metrics_port, "--metrics-port"
        if asked is not None:
            return await self._listen(self._exposition, asked, option)
        try:
            return await self._listen(self._exposition, METRICS_PORT, option)
        except Conflict:
            return await self._listen(self._exposition, 0, option)

    # --- the end

    async def stop(self) -> None:
        """Drains: no new calls, those under way end within `drain_s` or are ended in-band."""
        await self._end(self._settings.drain_s)

    async def _end(self, grace_s: float) -> None:
        if self._wired:
            await self._drain(grace_s)
        await self._stack.aclose()

    async def _drain(self, grace_s: float) -> None:
        self._health.draining = True
        draining = asyncio.create_task(self._front.close(grace_s + 1))
        await asyncio.gather(self._exchanges.drain(grace_s), self._dispatcher.stop(grace_s))
        await self._router.close()
        await draining
        await self._exposition.close(0)
        await self._recorder.close()
        await self._workers.stop()
        self._pool.close()


def deadlines(settings: Settings) -> Deadlines:
    """The router's deadlines as set."""
    return Deadlines(
        connect_s=settings.connect_timeout_s,
        first_byte_s=settings.first_byte_timeout_s,
        idle_s=settings.idle_timeout_s,
        total_s=settings.total_timeout_s,
        stalled_client_s=settings.stalled_client_timeout_s,
        progress_every_s=settings.progress_every_s,
    )
