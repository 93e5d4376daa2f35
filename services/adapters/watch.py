"""Looking on at what a bus carries, without ever slowing it down."""

from collections import deque
from collections.abc import Iterable

from events.bus import Message
from services.adapters.bell import Bell

KEPT = 1000


class Watch:
    """Every message published since it was made; of those not read yet, the newest 1000 are kept.

    `aclose` ends it; `contextlib.aclosing` calls that.
    """

    def __init__(self, watchers: "Watchers") -> None:
        self._watchers = watchers
        self._unread: deque[Message] = deque(maxlen=KEPT)
        self._bell = Bell()
        self._closed = False

    async def ready(self) -> None:
        """At once: it was made ready."""

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> Message:
        while not self._unread and not self._closed:
            await self._bell.stroke.wait()
        if self._closed:
            raise StopAsyncIteration
        return self._unread.popleft()

    async def aclose(self) -> None:
        """Ends the iteration, also for one who waits in it."""
        self._closed = True
        self._watchers.remove(self)
        self._bell.ring()

    def see(self, messages: Iterable[Message]) -> None:
        """Takes in what was published."""
        self._unread.extend(messages)
        self._bell.ring()


class Watchers:
    """Those who look on at one bus."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()

    def add(self) -> Watch:
        """A watch of everything from now on."""
        watch = Watch(self)
        self._watches.add(watch)
        return watch

    def remove(self, watch: Watch) -> None:
        """Forgets a watch."""
        self._watches.discard(watch)

    def tell(self, messages: Iterable[Message]) -> None:
        """Shows the messages to every watch."""
        for watch in self._watches:
            watch.see(messages)
