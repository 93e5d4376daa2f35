"""The router with all it needs: HTTP in front, exchanges behind it, metrics on a port of their own."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute

from events.catalog import Job
from events.requests import RESPONSES
from events.words import Conflict
from functions.request.endpoints import ENDPOINTS
from services.embedded.workers import Workers
from services.front.call import Endpoint
from services.front.limits import Budget
from services.router import reference
from services.router.admin import AdminApi, Conversation, Ingest
from services.router.advice import AdviceApi
from services.router.api import PublicApi, application
from services.router.backups import BackupApi, Backups
from services.router.cache import AnswerCache
from services.router.cache import Ports as CachePorts
from services.router.cache_admin import CacheApi
from services.router.chat import Chat
from services.router.chat import Ports as ChatPorts
from services.router.cold.door import ColdDoor
from services.router.cold.room import ColdRoom
from services.router.config_admin import ConfigApi
from services.router.dead_letters import DeadLetters, DeadLettersApi
from services.router.exchanges import Exchanges
from services.router.exposition import Exposition
from services.router.fleet import FleetReporter
from services.router.fleet import Ports as FleetPorts
from services.router.gate import AdminGate, Gate
from services.router.health import Check, Health
from services.router.idempotency.ports import Patience
from services.router.idempotency.ports import Ports as RunPorts
from services.router.idempotency.queued import Queue, QueuedOnce
from services.router.idempotency.runs import Runs
from services.router.jobs import JobsApi
from services.router.keyring import KeyRing
from services.router.metrics import Metrics
from services.router.queue import RequestQueue
from services.router.responses.api import ResponsesApi
from services.router.responses.endpoint import Responses
from services.router.responses.kept import KeptResponses
from services.router.retries import Retries
from services.router.router import Router
from services.router.routes import Routes
from services.router.screen import Screen
from services.runtime import gauges
from services.runtime.listening import make_front, take_port, url_at
from services.runtime.process import Process
from services.usage.recorder import UsageRecorder

KEY_POLL_S = 5.0
METRICS_PORT = 9090


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the operators' endpoints do through others: `admin_key_hash` is the SHA-256 of their key, `jobs`
    have the schedules in force. `alone`: no other process works on the same stores.
    """

    admin_key_hash: str
    conversation: Conversation
    ingest: Ingest
    jobs: Sequence[Job]
    alone: bool = False
    backups: Backups | None = None
    dead_letters: DeadLetters | None = None


class RouterService:
    """`listen` once, `start` once, `drain` once, `close` once. `metrics` may show further figures;
    `checks` are what else must hold before it is ready.
    """

    def __init__(
        self,
        process: Process,
        recorder: UsageRecorder,
        surroundings: Surroundings,
        metrics: Metrics,
        checks: dict[str, Check] | None = None,
    ) -> None:
        self.url = self.metrics_url = ""
        self._process = process
        self._metrics = metrics
        self._budget = Budget(process.settings.max_held_bytes)
        self._cold = ColdRoom(process.pool, process.config, self._budget, time.monotonic)
        self._exchanges = Exchanges(
            recorder,
            self._metrics,
            process.deadlines(),
            now=process.now,
            budget=self._budget,
            retries=Retries(attempts=process.settings.attempts),
            cold=self._cold,
        )
        self._cache = AnswerCache(self._cache_ports(recorder))
        self._runs = Runs(self._run_ports(surroundings.alone))
        self._screen = None if process.guard is None else Screen(process.guard)
        self._ring = KeyRing(process.stores.keys, clock=time.monotonic, grace_s=process.settings.key_grace_s)
        self._health = Health({"store": process.store_answers, **(checks or {})})
        self._router = self._make_router(surroundings)
        self._front = make_front(process.settings, self._router, self._budget)
        self._exposition = make_front(process.settings, Exposition(self._metrics), Budget(2**20))
        metrics.gauges |= (
            gauges.usage(recorder)
            | process.telemetry.gauges()
            | {
                "in_flight": gauges.in_flight(lambda: self._exchanges.open, process.config),
                "breaker_state": gauges.breakers(process.pool, process.config),
                "connections": lambda: self._front.connections,
                "held": lambda: self._budget.used,
                "cold_waiting": lambda: self._cold.waiting,
                "keyed_calls": lambda: self._runs.under_way,
                "cached": lambda: self._cache.used,
                "unreadable_requests": lambda: process.stores.requests.unreadable,
            }
        )

    def _make_router(self, surroundings: Surroundings) -> Router:
        process, stores = self._process, self._process.stores
        gate = Gate(self._ring, process.now)
        routes = Routes(
            config=process.config,
            lacking=process.feed.lacking,
            may_leave=lambda tenant: tenant in self._cache.leaving,
            waits=lambda: process.pool().waits(),
        )
        queue = RequestQueue(
            stores.requests,
            stores.bodies,
            stores.sealer,
            process.publisher,
            config=process.config,
            terms=process.terms(),
            now=process.now,
            waiters=process.waiters,
            routes=routes,
        )
        kept = KeptResponses(
            queue,
            stores.requests,
            stores.bodies,
            stores.journal,
            stores.sealer,
            config=process.config,
            terms=process.terms(),
            now=process.now,
        )
        public = PublicApi(
            gate, queue, self._once(queue), process.config, started_at=int(time.time()), routes=routes
        )
        responses = ResponsesApi(gate, kept, self._once(kept), process.waiters)
        open_to_all = [*self._health.routes(), *reference.routes()]
        beside = [*public.routes(), *responses.routes(), *self._operators(surroundings), *open_to_all]

        ports = self._chat_ports(gate, routes, queue)
        hot: dict[bytes, Endpoint] = {path.encode(): Chat(ports, one) for path, one in ENDPOINTS.items()}
        watch = process.telemetry.watch(process.config, stores.sealer)
        router = Router(hot, application(beside), watch)
        hot[RESPONSES.encode()] = Responses(ports, kept, router.bridge)
        return router

    def _once(self, queue: Queue) -> QueuedOnce:
        """Before a queue, for calls with an idempotency key."""
        process, stores = self._process, self._process.stores
        keep_s = process.settings.results_kept_s
        return QueuedOnce(stores.keyed_calls, stores.sealer, queue, keep_s=keep_s, now=process.now)

    def _chat_ports(self, gate: Gate, routes: Routes, queue: RequestQueue) -> ChatPorts:
        process = self._process
        return ChatPorts(
            gate=gate,
            config=process.config,
            pool=process.pool,
            routes=routes,
            exchanges=self._exchanges,
            cache=self._cache,
            runs=self._runs,
            door=ColdDoor(self._cold, process.config, queue, process.settings.cold),
            screen=self._screen,
        )

    def _operators(self, given: Surroundings) -> list[BaseRoute]:
        """The endpoints under `/admin/v1`."""
        process, stores = self._process, self._process.stores
        gate, publisher, now = AdminGate(given.admin_key_hash), process.publisher, process.now
        admin = AdminApi(
            gate,
            stores.keys,
            stores.ledger,
            given.conversation,
            ingest=given.ingest,
            changed=self._ring.forget,
            now=now,
        )
        jobs = JobsApi(gate, given.jobs, stores.job_runs, publisher, now=now)
        cache = CacheApi(gate, stores.cache, stores.keys, publisher, changed=self._cache.refresh, now=now)
        advice = AdviceApi(gate, stores.advice, process.config)
        config = ConfigApi(gate, process.feed)
        routes = [*admin.routes(), *jobs.routes(), *advice.routes(), *cache.routes(), *config.routes()]
        if given.backups is not None:
            routes += BackupApi(gate, given.backups, publisher, given.conversation, now=now).routes()
        if given.dead_letters is not None:
            routes += DeadLettersApi(gate, given.dead_letters).routes()
        return routes

    async def listen(self) -> None:
        """Takes the ports and serves; `url` and `metrics_url` are known from now on. Raises `Conflict` where
        a port is taken, `Invalid` where none can be.
        """
        settings = self._process.settings
        port = await take_port(self._front, settings.host, settings.port, "--port")
        metrics_port = await self._listen_for_metrics()
        self.url, self.metrics_url = url_at(settings.host, port), url_at(settings.metrics_host, metrics_port)

    async def _listen_for_metrics(self) -> int:
        """On the port asked for; where none was, on the usual one or any that is free."""
        settings, option = self._process.settings, "--metrics-port"
        host, asked = settings.metrics_host, settings.metrics_port
        if asked is not None:
            return await take_port(self._exposition, host, asked, option)
        try:
            return await take_port(self._exposition, host, METRICS_PORT, option)
        except Conflict:
            return await take_port(self._exposition, host, 0, option)

    def start(self, workers: Workers) -> None:
        """Begins what runs beside the calls."""
        workers.start(self._ring.follow(KEY_POLL_S), "key poll")
        workers.start(self._cache.follow(), "cache")
        workers.start(FleetReporter(self._fleet_ports()).run(), "fleet")
        self._exchanges.start()

    def _fleet_ports(self) -> FleetPorts:
        process = self._process
        return FleetPorts(
            calls=lambda: self._exchanges.open,
            publisher=process.publisher,
            pool=process.pool,
            config=process.config,
            now=process.now,
            producer=process.producer,
        )

    def _cache_ports(self, recorder: UsageRecorder) -> CachePorts:
        process, stores = self._process, self._process.stores
        return CachePorts(
            store=stores.cache,
            tenants=stores.keys,
            sealer=stores.sealer,
            publisher=process.publisher,
            recorder=recorder,
            metrics=self._metrics,
            budget=self._budget,
            config=process.config,
            now=process.now,
            wait_s=process.settings.cache_wait_ms / 1000,
            room=process.settings.cache_bytes,
        )

    def _run_ports(self, alone: bool) -> RunPorts:
        process, settings = self._process, self._process.settings
        return RunPorts(
            calls=process.stores.keyed_calls,
            bodies=process.stores.bodies,
            sealer=process.stores.sealer,
            budget=self._budget,
            metrics=self._metrics,
            now=process.now,
            owner=process.producer,
            alone=alone,
            patience=Patience(
                keep_s=settings.results_kept_s,
                lease_s=settings.lease_s,
                heartbeat_s=settings.heartbeat_s,
                here_s=settings.total_timeout_s,
                alive_after_s=settings.commit_after_s,
            ),
        )

    async def drain(self, grace_s: float) -> None:
        """No new calls; those under way end within `grace_s`, or are ended in-band."""
        self._health.draining = True
        closing = asyncio.create_task(self._front.close(grace_s + 1))
        began = time.monotonic()
        if self._screen is not None:
            await self._screen.close(grace_s)
        await self._exchanges.drain(max(0.0, grace_s - (time.monotonic() - began)))
        await self._runs.close()
        await self._cache.close()
        await self._router.close()
        await closing
        await self._exposition.close(0)
