"""The processes of a platform on Google's services: router, dispatcher and every function."""

import asyncio
import logging
import secrets
import time
from contextlib import AsyncExitStack
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from events.bus import Message
from events.catalog import EVENTS, JOBS, subscriptions
from events.envelope import Envelope
from events.words import Unavailable
from services.adapters.firestore import database as firestore
from services.adapters.firestore.advice import FirestoreAdvice
from services.adapters.firestore.bodies import FirestoreBodies
from services.adapters.firestore.cache import FirestoreCache
from services.adapters.firestore.config_documents import FirestoreConfigDocuments
from services.adapters.firestore.data_keys import FirestoreDataKeys
from services.adapters.firestore.job_runs import FirestoreJobRuns
from services.adapters.firestore.journal import FirestoreJournal
from services.adapters.firestore.keyed_calls import FirestoreKeyedCalls
from services.adapters.firestore.keys import FirestoreKeys
from services.adapters.firestore.ledger import FirestoreUsageLedger
from services.adapters.firestore.requests import FirestoreRequests
from services.adapters.local.master_key import FileMasterKey
from services.adapters.pubsub import connection as pubsub
from services.adapters.pubsub.conversation import PubSubConversation
from services.adapters.pubsub.inbox import PubSubInbox
from services.adapters.pubsub.publisher import PubSubPublisher
from services.adapters.pubsub.push import PushEndpoint
from services.configuration.feed import ConfigFeed
from services.delivery.consumer import Consumer
from services.delivery.handling import Handle
from services.dispatcher.dispatcher import Dispatcher
from services.embedded.workers import Workers
from services.guarding.guard import Guard
from services.jobs.slots import by_schedule
from services.requests.ingest import ingest_envelope
from services.router.health import Check
from services.router.metrics import Metrics
from services.runtime import backends, cloud_backups, configuration, functions, gauges
from services.runtime.cloud_settings import CloudSettings, read_cloud_settings
from services.runtime.logs import set_up_logs
from services.runtime.probes import Probes
from services.runtime.process import Process, utc_now
from services.runtime.serving import RouterService, Surroundings
from services.runtime.settings import Settings, read_settings
from services.runtime.stores import Stores
from services.runtime.telemetry import read_wish, telemetry
from services.sealing.sealer import Sealer
from services.telemetry.events import SYSTEM
from services.usage.recorder import Lingers

TOPICS = tuple(row.topic for row in EVENTS)
CONFIG_POLL_S = 5.0
CONFIG_WITHIN_S = 60.0
PAUSE_S = 1.0
LINGERS = Lingers(started_s=0.1, other_s=0.25, pages_in_flight=4, apart=True)  # every page is paid for

log = logging.getLogger("penstock.cloud")


class Cloud:
    """What every process on Google's services has; `stack` closes it. `guard`: who judges prompts and watches
    answers; None: nobody.
    """

    def __init__(
        self, settings: Settings, place: CloudSettings, service: str, guard: Guard | None = None
    ) -> None:
        self.settings = settings
        self.guard = guard
        self.place = place
        self.service = f"penstock-{service}"
        self.stack = AsyncExitStack()
        self.workers = Workers()

    async def open(self) -> Process:
        """Opens channels and stores, and waits for the first configuration document."""
        producer = secrets.token_hex(8)
        told = telemetry(
            self.settings,
            read_wish(),
            service=self.service,
            instance=producer,
            system=SYSTEM,
            stack=self.stack,
        )
        self.channel = await pubsub.connect(self.pubsub_place)
        self.stack.push_async_callback(self.channel.close)
        self.stack.push_async_callback(self.workers.stop)
        self.publisher = PubSubPublisher(self.channel, self.pubsub_place)
        data = self._database(self.place.database)
        stores = self._stores(data)
        self._feed = ConfigFeed(stores.config, configuration.lacking_here, backends.pools())
        await self._first_config()
        return Process(
            settings=self.settings,
            stores=stores,
            publisher=told.publisher(self.publisher),
            feed=self._feed,
            producer=producer,
            telemetry=told,
            lingers=LINGERS,
            cancel_check_s=self.settings.heartbeat_s,  # every look would be a read to pay for
            guard=self.guard,
        )

    @property
    def pubsub_place(self) -> pubsub.Place:
        """Where Pub/Sub is."""
        return pubsub.Place(project=self.place.project, emulator=self.place.pubsub_emulator)

    def _database(self, name: str) -> firestore.Database:
        emulator = self.place.firestore_emulator
        api = firestore.connect(emulator)
        self.stack.push_async_callback(firestore.close, api)
        return firestore.Database.at(api, self.place.project, name, emulator)

    def _stores(self, data: firestore.Database) -> Stores:
        data_keys = FirestoreDataKeys(self._database(self.place.keys_database))
        return Stores(
            ledger=FirestoreUsageLedger(data, utc_now),
            requests=FirestoreRequests(data, utc_now),
            bodies=FirestoreBodies(data, utc_now),
            journal=FirestoreJournal(data, utc_now),
            keys=FirestoreKeys(data),
            job_runs=FirestoreJobRuns(data),
            advice=FirestoreAdvice(data),
            cache=FirestoreCache(data, utc_now),
            keyed_calls=FirestoreKeyedCalls(data, utc_now),
            config=FirestoreConfigDocuments(data, utc_now),
            sealer=Sealer(FileMasterKey(Path(self.place.master_key_file)), data_keys),
        )

    async def _first_config(self) -> None:
        """Nothing can be decided without one; a deployment without one fails here, and says why."""
        self.stack.callback(self._feed.close)
        deadline = time.monotonic() + CONFIG_WITHIN_S
        while not self._feed.version:
            try:
                await self._feed.refresh()
            except Unavailable as error:
                log.warning("waiting for the configuration: %s", error)
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(PAUSE_S)
        self.workers.start(self._feed.follow(CONFIG_POLL_S), "configuration")


class RouterProcess:
    """The router of a cloud platform; `start` once, `stop` once."""

    def __init__(self, settings: Settings, place: CloudSettings, guard: Guard | None = None) -> None:
        self._cloud = Cloud(settings, place, "router", guard)
        self._grace_s = 0.0

    async def start(self) -> RouterService:
        """Opens everything and serves. What fails undoes the rest."""
        try:
            return await self._start()
        except BaseException:
            await self._cloud.stack.aclose()
            raise

    async def _start(self) -> RouterService:
        cloud = self._cloud
        process = await cloud.open()
        recorder = process.recorder("/router")
        cloud.stack.push_async_callback(recorder.close)
        archives = cloud_backups.archives_of(cloud.place, cloud.stack)
        metrics = Metrics({})
        router = RouterService(
            process,
            recorder,
            Surroundings(
                admin_key_hash=cloud.place.admin_key_hash,
                conversation=PubSubConversation(cloud.channel, cloud.pubsub_place, TOPICS),
                ingest=process.ingest(),  # the topics are made by: penstock tenants enable-ingest
                jobs=[by_schedule(job) for job in JOBS],
                backups=cloud_backups.told_of(archives, cloud.place),
            ),
            metrics,
            {"workers": cloud.workers.missing},
        )
        cloud.stack.push_async_callback(self._drain, router)
        await router.listen()
        process.telemetry.send(metrics.read, cloud.workers, cloud.stack)
        router.start(cloud.workers)
        return router

    async def _drain(self, router: RouterService) -> None:
        await router.drain(self._grace_s)

    async def stop(self) -> None:
        """Drains within `drain_s`."""
        self._grace_s = self._cloud.settings.drain_s
        await self._cloud.stack.aclose()


class DispatcherProcess:
    """The dispatcher of a cloud platform: no URL, so it pulls; `start` once, `stop` once."""

    def __init__(self, settings: Settings, place: CloudSettings, guard: Guard | None = None) -> None:
        self._cloud = Cloud(settings, place, "dispatcher", guard)
        self._probes: Probes | None = None
        self._grace_s = 0.0

    async def start(self) -> Probes:
        """Opens everything and begins. What fails undoes the rest."""
        try:
            return await self._start()
        except BaseException:
            await self._cloud.stack.aclose()
            raise

    async def _start(self) -> Probes:
        cloud = self._cloud
        process = await cloud.open()
        recorder = process.recorder("/dispatcher")
        cloud.stack.push_async_callback(recorder.close)
        metrics = Metrics({"unreadable_requests": lambda: process.stores.requests.unreadable})
        dispatcher = functions.dispatcher(process, recorder, metrics)
        pressure = functions.pressure_reporter(process, dispatcher)
        metrics.gauges |= gauges.queue(lambda: pressure.last) | gauges.usage(recorder)
        metrics.gauges |= process.telemetry.gauges()
        metrics.gauges["breaker_state"] = gauges.breakers(process.pool, process.config)
        probes = await self._probe(process, dispatcher, metrics)
        cloud.stack.push_async_callback(lambda: dispatcher.stop(self._grace_s))
        feeds = [one for one in subscriptions() if one.consumer == "dispatcher"]
        inbox = PubSubInbox(cloud.channel, cloud.pubsub_place, feeds)
        cloud.stack.push_async_callback(inbox.close)
        await dispatcher.start(alone=False)
        handle = process.telemetry.handle("dispatcher", functions.run_once(process).guard(dispatcher.handle))
        for feed in feeds:
            consumer = Consumer(inbox, process.publisher, feed, handle, source="/dispatcher")
            cloud.workers.start(consumer.run(), feed.name)
        cloud.workers.start(pressure.run(), "pressure")
        process.telemetry.send(metrics.read, cloud.workers, cloud.stack)
        return probes

    async def _probe(self, process: Process, dispatcher: Dispatcher, metrics: Metrics) -> Probes:
        """First: where the port is taken, nothing has been run."""
        metrics.gauges["queue_running"] = lambda: dispatcher.running
        checks: dict[str, Check] = {
            "store": process.store_answers,
            "workers": self._cloud.workers.missing,
            "dispatcher": dispatcher.missing,
        }
        self._probes = probes = Probes(process.settings, metrics, checks)
        self._cloud.stack.push_async_callback(probes.close)
        await probes.listen()
        return probes

    async def stop(self) -> None:
        """Lets runs end within `drain_s`, and gives the rest back."""
        if self._probes is not None:
            self._probes.drain()
        self._grace_s = self._cloud.settings.drain_s
        await self._cloud.stack.aclose()


class Function:
    """A function behind its HTTP endpoint; everything is opened at its first call, in the server's loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._opening: asyncio.Task[PushEndpoint] | None = None

    async def __call__(self, request: Request) -> Response:
        """One delivery. `/ingest/<tenant>` takes wrapped pushes, every other path unwrapped ones."""
        try:
            endpoint = await self._endpoint()
        except Unavailable as error:
            log.warning("the %s function cannot work yet: %s", self._name, error)
            return Response(status_code=503)
        body = await request.body()
        first, _, tenant = request.url.path.strip("/").partition("/")
        if first == "ingest":
            status = await endpoint.ingest(tenant, body, _received)
        else:
            status = await endpoint.internal(request.headers, body)
        return Response(status_code=status)

    async def _endpoint(self) -> PushEndpoint:
        if self._opening is None or (self._opening.done() and self._opening.exception()):
            self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def _open(self) -> PushEndpoint:
        settings = read_settings({"data_dir": "."})
        set_up_logs(settings.log_level, settings.log_format)
        cloud = Cloud(settings, read_cloud_settings(), self._name)
        try:
            process = await cloud.open()
            guarded = functions.run_once(process).guard(self._handler(process, cloud))
            handle = process.telemetry.handle(self._name, guarded)
        except BaseException:
            await cloud.stack.aclose()
            raise
        return PushEndpoint(handle, process.publisher, source=f"/functions/{self._name}", now=utc_now)

    def _handler(self, process: Process, cloud: Cloud) -> Handle:
        if self._name == "backup":
            archives = cloud_backups.archives_of(cloud.place, cloud.stack)
            return functions.backup_handler(archives, {})  # the bucket's rules thin them out
        return functions.handlers(process)[self._name]


def _received(tenant: str, message: Message) -> Envelope:
    return ingest_envelope(tenant, message, utc_now())
