"""All that is said on several topics, for people who look on."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

from events.bus import Message
from services.adapters.pubsub.connection import Channel, Place
from services.adapters.pubsub.watch import watching
from services.adapters.watch import Watch


class PubSubConversation:
    """Watches the topics by temporary subscriptions, for as long as somebody looks on."""

    def __init__(self, channel: Channel, place: Place, topics: Sequence[str]) -> None:
        self._channel = channel
        self._place = place
        self._topics = topics

    def watch(self) -> "Onlooker":
        """Every message from the moment it is ready."""
        return Onlooker(self._channel, self._place, self._topics)


class Onlooker:
    """One who looks on, from `ready` on or from the first message that is asked for. Raises `Unavailable`
    where a topic cannot be watched.
    """

    def __init__(self, channel: Channel, place: Place, topics: Sequence[str]) -> None:
        self._watching = watching(channel, place, topics)
        self._watch: Watch | None = None
        self._stack = AsyncExitStack()

    async def ready(self) -> None:
        """Makes the subscriptions."""
        await self._begun()

    async def __aiter__(self) -> AsyncIterator[Message]:
        async for message in await self._begun():
            yield message

    async def _begun(self) -> Watch:
        if self._watch is None:
            self._watch = await self._stack.enter_async_context(self._watching)
        return self._watch

    async def aclose(self) -> None:
        """Deletes the subscriptions."""
        await self._stack.aclose()
