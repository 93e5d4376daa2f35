"""The cloud platform on one machine: Google's emulators, and every part as the process it is there."""

import asyncio
import os
import secrets
import sys
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path

import msgspec

from events.catalog import JOBS, ingest_key
from events.words import Invalid
from services.adapters import emulators
from services.adapters.emulators import FIRESTORE, PUBSUB, Emulator, Kind, free_port
from services.adapters.firestore import database as firestore
from services.adapters.firestore.config_documents import FirestoreConfigDocuments
from services.adapters.firestore.keys import FirestoreKeys
from services.adapters.local.folder import DataFolder, Running
from services.adapters.local.master_key import FileMasterKey
from services.adapters.pubsub import connection as pubsub
from services.adapters.pubsub.publisher import PubSubPublisher
from services.embedded.scheduler import Scheduler
from services.embedded.workers import Workers
from services.router.credentials import digest
from services.runtime import cloud_topics, configuration, first_start
from services.runtime.children import Child
from services.runtime.local import Part, Started
from services.runtime.process import utc_now
from services.runtime.settings import Settings

FUNCTIONS = ("request", "routing", "metering", "caching", "delivery", "autoscale", "backup")
STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 12.0


class Topology:
    """`start` once, `stop` once; a part that dies is started again. What it keeps is gone at the end: the
    emulators hold it in memory.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._project = f"penstock-{secrets.token_hex(4)}"
        self._emulators: dict[str, Emulator] = {}
        self._children: list[Child] = []

    async def start(self) -> Started:
        """Brings everything up. What fails undoes the rest."""
        try:
            return await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def stop(self) -> None:
        """Ends every part, then the emulators."""
        await self._stack.aclose()

    def parts(self) -> list[Part]:
        """Every process, with its port."""
        alive = [(child, child.process) for child in self._children if child.process is not None]
        return [
            *(Part(name=name, pid=one.pid, port=one.port) for name, one in self._emulators.items()),
            *(Part(name=child.name, pid=process.pid, port=child.port) for child, process in alive),
        ]

    async def _start(self) -> Started:
        settings = self._settings
        for kind in (FIRESTORE, PUBSUB):
            if lacking := emulators.missing(kind):
                raise Invalid(f"`--emulators` cannot run: {lacking}.")
        folder = DataFolder(Path(settings.data_dir))
        folder.prepare()
        folder.lock()
        self._stack.callback(folder.unlock)
        chosen = await configuration.choose(settings, self._stack)
        key = first_start.api_key(folder.path, settings)
        admin_key = first_start.admin_key(folder.path, settings)
        FileMasterKey(folder.path / "master-key")  # made here, read by every process
        await asyncio.gather(self._emulate("firestore", FIRESTORE), self._emulate("pubsub", PUBSUB))
        self._plan_parts(folder.path, admin_key)
        await self._fill_firestore(msgspec.json.encode(chosen.config), key)
        await asyncio.to_thread(self._make_topics)
        await self._run_parts()
        await self._run_jobs()
        router = self._child("router")
        url = f"http://127.0.0.1:{router.port}"
        folder.announce(Running(url=url, metrics_url="", pid=os.getpid()))
        self._stack.callback(folder.withdraw)
        models = tuple(sorted(chosen.config.models))
        return Started(
            url=url,
            metrics_url="",
            key=key,
            engine=chosen.engine,
            models=models,
            parts=tuple(self.parts()),
        )

    async def _emulate(self, name: str, kind: Kind) -> None:
        emulator = await asyncio.to_thread(emulators.start, kind)
        self._emulators[name] = emulator
        self._stack.callback(emulator.end)

    def _plan_parts(self, folder: Path, admin_key: str) -> None:
        logs = folder / "logs"
        logs.mkdir(exist_ok=True)
        environment = {
            "GOOGLE_CLOUD_PROJECT": self._project,
            "FIRESTORE_EMULATOR_HOST": self._emulators["firestore"].address,
            "PUBSUB_EMULATOR_HOST": self._emulators["pubsub"].address,
            "PENSTOCK_MASTER_KEY_FILE": str(folder / "master-key"),
            "PENSTOCK_ADMIN_KEY_HASH": digest(admin_key),
            "PENSTOCK_LOG_LEVEL": self._settings.log_level,
        }
        serve = (sys.executable, "-P", "-m", "services.cli.main", "serve")
        listening = {"router": (self._settings.host, self._settings.port), "dispatcher": ("127.0.0.1", 0)}
        for name, (host, wished) in listening.items():
            port = wished or free_port()
            self._add(name, (*serve, name, "--host", host, "--port", str(port)), environment, logs, port)
        for name in FUNCTIONS:
            port = free_port()
            command = (sys.executable, "-P", "-m", "functions_framework", *_source(name), f"--port={port}")
            self._add(name, command, environment, logs, port)

    def _add(
        self, name: str, command: tuple[str, ...], environment: dict[str, str], logs: Path, port: int | None
    ) -> None:
        log = logs / f"{name}.log"
        log.unlink(missing_ok=True)
        self._children.append(Child(name=name, command=command, environment=environment, log=log, port=port))

    def _child(self, name: str) -> Child:
        return next(child for child in self._children if child.name == name)

    async def _fill_firestore(self, config: bytes, key: str) -> None:
        """What an operator writes at the first deployment: the configuration, and the first tenant."""
        api = firestore.connect(self._emulators["firestore"].address)
        database = firestore.Database.on_emulator(api, self._project)
        keys = FirestoreKeys(database)
        try:
            await FirestoreConfigDocuments(database, utc_now).publish(config, 0)
            await first_start.ensure_tenant(keys, key, utc_now)
            await keys.add(ingest_key(first_start.DEFAULT_TENANT, utc_now()))  # its topic is made below
        finally:
            await firestore.close(api)

    def _make_topics(self) -> None:
        push = {name: f"http://127.0.0.1:{self._child(name).port}" for name in FUNCTIONS}
        wish = cloud_topics.Wish(push=push, tenants=(first_start.DEFAULT_TENANT,))
        cloud_topics.apply(self._pubsub, wish, dry_run=False)

    @property
    def _pubsub(self) -> pubsub.Place:
        return pubsub.Place(project=self._project, emulator=self._emulators["pubsub"].address)

    async def _run_parts(self) -> None:
        workers = Workers()
        self._stack.push_async_callback(self._end_children)
        self._stack.push_async_callback(workers.stop)
        for child in self._children:
            workers.start(child.run(), child.name)
        await asyncio.gather(*(one.listens(STARTS_WITHIN_S) for one in self._children if one.port))

    async def _end_children(self) -> None:
        await asyncio.gather(*(child.end(ENDS_WITHIN_S) for child in self._children))

    async def _run_jobs(self) -> None:
        """Here is no Cloud Scheduler: this process starts the jobs, through their topics as it does."""
        channel = await pubsub.connect(self._pubsub)
        self._stack.push_async_callback(channel.close)
        scheduler = Scheduler(
            PubSubPublisher(channel, self._pubsub), JOBS, now=utc_now, every_s=self._settings.job_every_s
        )
        workers = Workers()
        self._stack.push_async_callback(workers.stop)
        workers.start(scheduler.run(), "scheduler")


def _source(function: str) -> tuple[str, ...]:
    spec = find_spec(f"functions.{function}.main")
    if spec is None or spec.origin is None:
        raise Invalid(f"The entry point of the function {function} is not installed.")
    return ("--source", spec.origin, "--target", "main", "--host", "127.0.0.1")
