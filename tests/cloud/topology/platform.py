"""A platform of several processes as apps and operators use it."""

import http.client
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, TypeVar

from google.api_core.exceptions import DeadlineExceeded
from google.cloud import pubsub_v1

from events.bus import Message
from events.catalog import ingest_topic
from functions.request.handler import request_id
from services.requests.ingest import received
from tests.cloud.topology.parts import Parts
from tests.support.command import Ended, Up, penstock

TENANT = "default"
PATIENCE_S = 60.0
PULL_S = 1.0

T = TypeVar("T")


class Platform:
    """Where it is, and what an app or an operator does with it."""

    def __init__(self, up: Up, parts: Parts) -> None:
        self.up = up
        self.parts = parts
        self.publisher = pubsub_v1.PublisherClient()
        self.subscriber = pubsub_v1.SubscriberClient()

    def close(self) -> None:
        """Lets go of the connections."""
        self.publisher.stop()
        self.publisher.transport.close()
        self.subscriber.close()

    def topic(self, name: str) -> str:
        return self.publisher.topic_path(self.parts.project, name)

    def subscription(self, name: str) -> str:
        return self.subscriber.subscription_path(self.parts.project, name)

    def publish(self, body: bytes, **attributes: str) -> str:
        """Publishes to the ingest topic as an app does; returns the request it makes."""
        topic = self.topic(ingest_topic(TENANT))
        message_id: str = self.publisher.publish(topic, body, **attributes).result(PATIENCE_S)
        return self.request_of(message_id, **attributes)

    def request_of(self, message_id: str, **attributes: str) -> str:
        message = Message(topic=ingest_topic(TENANT), attributes=attributes, data=b"", id=message_id)
        return request_id(received(TENANT, message))

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One call with the API key."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.up.key}", "content-type": "application/json"}
        status, _, answer = post(self.up.port, path, content, headers, method=method)
        return status, json.loads(answer)

    def ended(self, name: str) -> dict[str, Any]:
        """A request as its caller reads it, once it has ended."""

        def read() -> dict[str, Any] | None:
            status, told = self.ask("GET", f"/v1/requests/{name}?wait=10")
            return told if status == 200 and told["status"] not in ("queued", "in_progress") else None

        return until(read, f"{name} ends")

    def penstock(self, *arguments: str) -> Ended:
        """A command about this platform."""
        return penstock(*arguments, "--data-dir", str(self.up.folder))

    def usage(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = self.penstock("usage", "--json").json
        return lines

    @contextmanager
    def watching(self, topics: Sequence[str]) -> Iterator["Watch"]:
        """Temporary subscriptions to topics."""
        names = {topic: self.subscription(f"{topic}.test-{time.monotonic_ns()}") for topic in topics}
        for topic, name in names.items():
            self.subscriber.create_subscription(name=name, topic=self.topic(topic))
        try:
            yield Watch(self, names)
        finally:
            for name in names.values():
                self.subscriber.delete_subscription(subscription=name)

    def topics(self) -> list[str]:
        """Every topic there is."""
        project = f"projects/{self.parts.project}"
        return sorted(one.name.rpartition("/")[2] for one in self.publisher.list_topics(project=project))

    def pull(self, subscription: str) -> list[Any]:
        """What a subscription has within a moment, acknowledged."""
        found: list[Any] = []
        with suppress(DeadlineExceeded):
            answer = self.subscriber.pull(
                subscription=subscription, max_messages=1000, timeout=PULL_S, retry=None
            )
            found = list(answer.received_messages)
        if found:
            ids = [one.ack_id for one in found]
            self.subscriber.acknowledge(subscription=subscription, ack_ids=ids)
        return [one.message for one in found]


class Watch:
    """Everything said on several topics since it was made, by topic."""

    def __init__(self, platform: Platform, subscriptions: dict[str, str]) -> None:
        self._platform = platform
        self._subscriptions = subscriptions
        self.seen: dict[str, list[Any]] = {topic: [] for topic in subscriptions}

    def look(self) -> dict[str, list[Any]]:
        """All of it so far."""
        for topic, name in self._subscriptions.items():
            self.seen[topic] += self._platform.pull(name)
        return self.seen


def until(reached: Callable[[], T], what: str, within_s: float = PATIENCE_S) -> T:
    """Waits until something holds, and returns it."""
    deadline = time.monotonic() + within_s
    while True:
        if found := reached():
            return found
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        time.sleep(0.05)


def post(
    port: int, path: str, body: bytes, headers: dict[str, str], method: str = "POST"
) -> tuple[int, dict[str, str], bytes]:
    """One call over a connection of its own: status, headers, body."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return (
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )
