"""The Pub/Sub adapters on an emulator, each time in an empty project. Needs no Google package to import."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from events.bus import Message
from events.catalog import Retry, Subscription
from tests.cloud import emulators

RETRY = Retry(ack_deadline_s=10, min_backoff_s=0.1, max_backoff_s=0.2, attempts=5)
NEWS = Subscription(topic="news", consumer="reader", retry=RETRY)
KEPT_DAYS = 7  # the longest the emulator allows
SOON_S = 15.0  # an upper bound that only a lost message ever reaches
# The emulator keeps a stream whose client is dead, and gives it about every other message, for 10 s each.
LATE_S = 300.0
SETTLE_S = 0.05
MOMENT_S = 0.3  # long enough for what is on its way to have come


@dataclass
class Project:
    """An empty project, a channel to it, and what tests do with them."""

    place: Any
    channel: Any
    server: Any
    inboxes: list[Any] = field(default_factory=list)

    def publisher(self, **given: Any) -> Any:
        from services.adapters.pubsub.publisher import PubSubPublisher  # noqa: PLC0415

        return PubSubPublisher(self.channel, self.place, **given)

    def inbox(self, *subscriptions: Subscription, channel: Any = None, **given: Any) -> Any:
        """An inbox as another process would have it; it is closed in the end."""
        from services.adapters.pubsub.inbox import PubSubInbox  # noqa: PLC0415

        inbox = PubSubInbox(channel or self.channel, self.place, subscriptions or [NEWS], **given)
        self.inboxes.append(inbox)
        return inbox

    async def ensure(self, *subscriptions: Subscription, push: Any = None) -> None:
        """Their topics, themselves, and their dead letters, as `topics apply` would make them."""
        await asyncio.to_thread(self._ensure, subscriptions or (NEWS,), push)

    def _ensure(self, subscriptions: Sequence[Subscription], push: Any) -> None:
        from services.adapters.pubsub.topics.plan import plan  # noqa: PLC0415
        from services.adapters.pubsub.topics.state import State, Topic  # noqa: PLC0415
        from services.adapters.pubsub.topics.wished import keeper, labels, subscription  # noqa: PLC0415

        ours = labels("test")
        dead = [Topic(name=terms.dead_letter_topic, labels=ours) for terms in subscriptions]
        topics = [Topic(name=name, labels=ours) for name in {terms.topic: None for terms in subscriptions}]
        wished = State(
            topics=(*topics, *dead),
            subscriptions=(
                *(subscription(terms, push, ours) for terms in subscriptions),
                *(keeper(topic, KEPT_DAYS) for topic in dead),
            ),
        )
        self.server.apply(plan(wished, self.server.read()))

    async def dead_letters(self, count: int, terms: Subscription = NEWS) -> list[Message]:
        """Takes what the subscription keeps that keeps dead letters."""
        kept = Subscription(topic=terms.dead_letter_topic, consumer="kept")
        inbox = self.inbox(kept)
        found: list[Message] = []
        while len(found) < count:
            some = await soon(inbox.receive(kept.name, count))
            await inbox.ack(kept.name, [message.id for message in some])
            found += some
        return found


@asynccontextmanager
async def project() -> AsyncIterator[Project]:
    address = emulators.pubsub().address
    from services.adapters.pubsub.connection import Place, connect  # noqa: PLC0415
    from services.adapters.pubsub.topics.server import TopicsServer  # noqa: PLC0415

    place = Place(project=emulators.fresh_project(), emulator=address)
    channel, server = await connect(place), TopicsServer(place)
    opened = Project(place, channel, server)
    try:
        yield opened
    finally:
        await asyncio.gather(*(inbox.close() for inbox in opened.inboxes))
        await channel.close()
        server.close()


class PubSubBus:
    """Publisher and inbox over one project, for the contract suite; `GAPS` names what it cannot do."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._known: dict[str, Subscription] = {}
        self._publisher = project.publisher()
        self._inbox = project.inbox(NEWS)
        self.publish = self._publisher.publish

    async def ensure(self, subscriptions: Sequence[Subscription]) -> None:
        await self._project.ensure(*subscriptions)
        self._known |= {subscription.name: subscription for subscription in subscriptions}
        self._inbox = self._project.inbox(*self._known.values())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inbox, name)


@asynccontextmanager
async def bus(folder: Path, now: Callable[[], datetime]) -> AsyncIterator[Any]:
    async with project() as opened:
        yield PubSubBus(opened)
    await settle()


async def settle() -> None:
    """What gRPC still says of calls that ended comes while their event loop is there to hear it."""
    await asyncio.sleep(SETTLE_S)


async def soon(awaitable: Any, within_s: float = SOON_S) -> Any:
    async with asyncio.timeout(within_s):
        return await awaitable


async def receive(
    inbox: Any, limit: int = 10, name: str = NEWS.name, within_s: float = SOON_S
) -> list[Message]:
    return await soon(inbox.receive(name, limit), within_s)


async def receive_all(inbox: Any, count: int, name: str = NEWS.name) -> list[Message]:
    """So many messages, acknowledged."""
    found: list[Message] = []
    while len(found) < count:
        some = await receive(inbox, count - len(found), name)
        await inbox.ack(name, [message.id for message in some])
        found += some
    return found


async def nothing_comes(inbox: Any, within_s: float = MOMENT_S, name: str = NEWS.name) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await inbox.receive(name, 1)
    except TimeoutError:
        return True
    return False


def message(text: str, topic: str = NEWS.topic) -> Message:
    return Message(topic=topic, attributes={"ce-id": text}, data=text.encode())


def texts(messages: Sequence[Message]) -> list[str]:
    return [one.data.decode() for one in messages]
