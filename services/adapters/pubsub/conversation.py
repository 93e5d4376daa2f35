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
        """Every message from the moment it is first asked for one."""
        return Onlooker(self._channel, self._place, self._topics)


class Onlooker:
    """One who looks on. Raises `Unavailable` where a topic cannot be watched."""

    def __init__(self, channel: Channel, place: Place, topics: Sequence[str]) -> None:
        self._watching = watching(channel, place, topics)
        self._stack = AsyncExitStack()

    async def __aiter__(self) -> AsyncIterator[Message]:
        watch: Watch = await self._stack.enter_async_context(self._watching)
        async for message in watch:
            yield message

    async def aclose(self) -> None:
        """Deletes the subscriptions."""
        await self._stack.aclose()
