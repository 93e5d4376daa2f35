"""The tenants' ingest topics on the local bus, where nobody else makes them."""

from collections.abc import Callable, Sequence
from typing import Protocol

from events.catalog import Subscription, ingest_subscription
from services.requests.ingest import Ingested, IngestTopics


class Topics(Protocol):
    """A bus whose topics can be added."""

    async def ensure(self, subscriptions: Sequence[Subscription]) -> None:
        """Declares subscriptions."""


class LocalIngest:
    """Makes tenants' ingest topics, and publishes on them for apps on this machine. `consume` starts the
    request function on a tenant's subscription.
    """

    def __init__(
        self, ingest: IngestTopics, topics: Topics, consume: Callable[[str, Subscription], None]
    ) -> None:
        self._ingest = ingest
        self._topics = topics
        self._consume = consume
        self._made: set[str] = set()

    async def open(self, tenant: str) -> None:
        """Makes the topic, its key and its consumer, where they are not there yet."""
        if tenant in self._made:
            return
        await self._ingest.open(tenant)
        subscription = ingest_subscription(tenant)
        await self._topics.ensure([subscription])
        if tenant not in self._made:  # another caller may have been faster
            self._made.add(tenant)
            self._consume(tenant, subscription)

    async def publish(self, tenant: str, body: bytes, idempotency_key: str) -> Ingested:
        """See `IngestTopics`."""
        await self.open(tenant)
        return await self._ingest.publish(tenant, body, idempotency_key)
