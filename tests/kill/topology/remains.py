"""What the platform stored and said, while it runs: Firestore by our adapters, Pub/Sub by Google's client."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
from google.api_core.exceptions import DeadlineExceeded
from google.cloud import pubsub_v1

from events.bus import Message, topic_by_type
from events.catalog import KNOWN, ingest_topic
from events.envelope import decode, type_of
from events.inference import InferenceCompleted, InferenceRequested
from events.requests import FINAL
from events.usage import UsageRecord
from functions.request.handler import request_id
from services.adapters.firestore import database as firestore
from services.adapters.firestore.ledger import FirestoreUsageLedger
from services.adapters.firestore.requests import FirestoreRequests
from services.requests.ingest import received
from services.runtime.first_start import DEFAULT_TENANT
from tests.cloud.topology.parts import Parts
from tests.kill.facts import Final

ALL = 1_000_000
PULL_S = 1.0
FINALS = topic_by_type(type_of(InferenceCompleted))
REQUESTED = topic_by_type(type_of(InferenceRequested))
INGEST = ingest_topic(DEFAULT_TENANT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What was said on the topics the oracle listens to, by message; and the reasons of dead letters."""

    finals: list[Final] = field(default_factory=list)
    announced: list[tuple[str, str]] = field(default_factory=list)  # request id, event id
    published: set[str] = field(default_factory=set)  # the requests that ingest messages make
    dead: list[str] = field(default_factory=list)


class Oracle:
    """Listens from before the first request; may be asked again and again."""

    def __init__(self, parts: Parts) -> None:
        self.said = Said()
        self._parts = parts
        self._subscriber: Any = None
        self._dead: list[str] = []

    def open(self) -> None:
        """From now on nothing is missed."""
        transport = pubsub_v1.SubscriberClient.get_transport_class("grpc")
        channel = grpc.insecure_channel(self._parts.pubsub)
        self._subscriber = pubsub_v1.SubscriberClient(transport=transport(channel=channel))
        for topic in (FINALS, REQUESTED, INGEST):
            self._subscriber.create_subscription(
                name=self._path(f"{topic}.oracle"), topic=f"projects/{self._parts.project}/topics/{topic}"
            )
        found = self._subscriber.list_subscriptions(project=f"projects/{self._parts.project}")
        self._dead = [one.name for one in found if one.name.endswith(".dead.kept")]

    def close(self) -> None:
        self._subscriber.close()

    def _path(self, name: str) -> str:
        return f"projects/{self._parts.project}/subscriptions/{name}"

    def listen(self) -> None:
        """Takes in what was said since."""
        for message in self._all(self._path(f"{FINALS}.oracle")):
            envelope = decode(message.attributes, message.data, KNOWN)
            event: Any = envelope.event
            self.said.finals.append(
                Final(event_id=envelope.id, request_id=event.request_id, status=event.status)
            )
        for message in self._all(self._path(f"{REQUESTED}.oracle")):
            self.said.announced.append((message.attributes["ce-subject"], message.attributes["ce-id"]))
        for message in self._all(self._path(f"{INGEST}.oracle")):
            self.said.published.add(request_of(message.message_id, dict(message.attributes)))
        for name in self._dead:
            for message in self._all(name):
                self.said.dead.append(f"{name.rpartition('/')[2]}: {dict(message.attributes)}")

    def _all(self, subscription: str) -> list[Any]:
        found: list[Any] = []
        while some := self._some(subscription):
            found += some
        return found

    def _some(self, subscription: str) -> list[Any]:
        with suppress(DeadlineExceeded):
            answer = self._subscriber.pull(
                subscription=subscription, max_messages=1000, timeout=PULL_S, retry=None
            )
            if ids := [one.ack_id for one in answer.received_messages]:
                self._subscriber.acknowledge(subscription=subscription, ack_ids=ids)
            return [one.message for one in answer.received_messages]
        return []


def request_of(message_id: str, attributes: dict[str, str]) -> str:
    """The request that a message on the ingest topic makes."""
    message = Message(topic=INGEST, attributes=attributes, data=b"", id=message_id)
    return request_id(received(DEFAULT_TENANT, message))


@asynccontextmanager
async def opened(parts: Parts) -> AsyncIterator[tuple[FirestoreUsageLedger, FirestoreRequests]]:
    """The stores of a running platform."""
    api = firestore.connect(parts.firestore)
    database = firestore.Database.on_emulator(api, parts.project)
    try:
        yield FirestoreUsageLedger(database, _now), FirestoreRequests(database, _now)
    finally:
        await firestore.close(api)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What lies in Firestore. `unsettled`: what is still to be done, in words."""

    records: tuple[UsageRecord, ...]
    unsettled: tuple[str, ...]


async def stored(parts: Parts, names: Iterable[str]) -> Stored:
    """What lies there now; `names` are the requests that should have ended."""
    async with opened(parts) as (ledger, requests):
        pages = await ledger.pages(limit=ALL)
        found = []
        for producer in await ledger.producers():
            standing, _ = await ledger.standing(producer)
            if left := len(await ledger.unfolded(producer, ALL)) + len(standing.open):
                found.append(f"{left} open attempts and new pages of {producer}")
        found += [f"{one.document.id} runs" for one in await requests.running(ALL)]
        found += [f"{one.document.id} owes events" for one in await requests.owing(_now(), ALL)]
        for name in names:
            one = await requests.get(name)
            if one is not None and one.document.state not in FINAL:
                found.append(f"{name} is {one.document.state} after {one.document.attempts} attempts")
        records = tuple(record for page in pages for record in page.page.records)
        return Stored(records=records, unsettled=tuple(found))


async def listened(oracle: Oracle) -> Said:
    """What was said until now."""
    await asyncio.to_thread(oracle.listen)
    return oracle.said
