"""An engine, a platform of several processes and its callers, in the end asked what happened."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import grpc
from google.cloud import pubsub_v1

from tests.kill.facts import Facts
from tests.kill.rig.load import PAUSE_S, Load
from tests.kill.rig.processes import Engine
from tests.kill.rig.requests import MODEL, Way
from tests.kill.rig.rig import SETTINGS, SILENT_AFTER_S, SWEEP_EVERY_S, TERMS, Rig, _sum
from tests.kill.topology import remains
from tests.kill.topology.oracle import Whole, all_violations
from tests.kill.topology.platform import SeveralProcesses
from tests.kill.topology.remains import INGEST, Oracle

CALM_S = SILENT_AFTER_S + 2 * SWEEP_EVERY_S  # what was still to be found out has been
SETTLES_WITHIN_S = 180.0  # a push that failed often comes again late
PUBLISHED_WITHIN_S = 60.0


class PublishingLoad(Load):
    """Half of what is queued is published by Google's own client."""

    kinds = ("stream", "whole")
    ways = ("posted", "published")

    def open(self, platform: SeveralProcesses) -> None:
        """Connects as an app would."""
        transport = pubsub_v1.PublisherClient.get_transport_class("grpc")
        channel = grpc.insecure_channel(platform.parts.pubsub)
        self._client = pubsub_v1.PublisherClient(transport=transport(channel=channel))
        self._topic = f"projects/{platform.parts.project}/topics/{INGEST}"

    def close(self) -> None:
        self._client.stop()
        self._client.transport.close()

    async def _hand_in(self, way: Way) -> None:
        if way == "posted":
            await super()._hand_in(way)
            return
        body = {"model": MODEL, "messages": [{"role": "user", "content": self._prompt()}]}
        data = json.dumps(body | {"max_tokens": self._length(), "ignore_eos": True}).encode()
        while True:
            future = self._client.publish(self._topic, data)
            try:
                message_id = await asyncio.to_thread(future.result, PUBLISHED_WITHIN_S)
            except Exception:
                await asyncio.sleep(PAUSE_S)
            else:
                self.acknowledged[remains.request_of(message_id, {})] = way
                return


class TopologyRig(Rig):
    """All of it; nothing but its parts is ever struck."""

    stored_within_s = 60
    platform: SeveralProcesses
    load: PublishingLoad

    def __init__(self, engine: Engine, platform: SeveralProcesses, seed: int) -> None:
        super().__init__(engine, platform, seed)
        self.load = PublishingLoad(platform, Random(seed))
        self.oracle = Oracle(platform.parts)

    def kill_part(
        self, name: str, in_flight: int = 0, *, worker: bool = False, still_since: float | None = None
    ) -> set[int]:
        """Kills a part and remembers it; returns the processes it had. `still_since` is when Pub/Sub was
        heard for the last time, if that is long ago.
        """
        at = time.time()
        before = self.platform.strike(name, worker=worker)
        self.note_kill(name, at, in_flight, 0.0 if still_since is None else at - still_since)
        return before

    async def whole(self, *, patient: bool = True) -> Whole:
        """Waits until nothing is left to do and nothing is wrong any more, or for long enough. Who is not
        patient expects something to be wrong.
        """
        await self.idle()
        deadline, calm = time.monotonic() + (SETTLES_WITHIN_S if patient else 0.0), 0
        while True:
            await asyncio.sleep(CALM_S)
            whole = await self._look()
            calm = 0 if all_violations(whole) else calm + 1
            if calm == 2 or time.monotonic() > deadline:
                return whole

    async def _look(self) -> Whole:
        queued = await self._read(list(self.load.acknowledged), within_s=0)
        stored = await remains.stored(self.platform.parts, self.load.acknowledged)
        sums = await self.platform.usage()
        said = await remains.listened(self.oracle)
        facts = Facts(
            terms=TERMS,
            engine=tuple(self.engine.rows()),
            records=stored.records,
            sums=tuple(map(_sum, sums)),
            calls=tuple(call.fact() for call in self.load.calls),
            queued=queued,
            finals=tuple(said.finals),
            kills=tuple(self.kills),
            dead_letters=tuple(said.dead),
            unsettled=stored.unsettled,
        )
        return Whole(facts=facts, announced=tuple(said.announced), published=frozenset(said.published))


@asynccontextmanager
async def set_up(folder: Path, seed: int, code: Path | None = None) -> AsyncIterator[TopologyRig]:
    """A platform under test that runs; `code` holds the packages to run instead of ours."""
    engine = Engine(folder)
    await engine.start()
    platform = SeveralProcesses(folder, engine.url, SETTINGS, code)
    try:
        await platform.start()
        rig = TopologyRig(engine, platform, seed)
        rig.load.open(platform)
        await asyncio.to_thread(rig.oracle.open)
        try:
            yield rig
        finally:
            rig.oracle.close()
            rig.load.close()
    finally:
        if platform.alive:
            await platform.stop()
        await engine.stop()
