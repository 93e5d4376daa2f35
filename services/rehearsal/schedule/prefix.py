"""Which beginnings of conversations were read before: a bounded memory of hashes."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from functions.request.admission import ChatMessage


def prefix_keys(messages: Sequence[ChatMessage]) -> list[bytes]:
    """One key per message, each standing for the conversation up to and including it."""
    keys = []
    running = hashlib.blake2b(digest_size=16)
    for message in messages:
        role, content = message.role.encode(), message.said
        running.update(b"%d:%b%d:%b" % (len(role), role, len(content), content))
        keys.append(running.digest())
    return keys


class PrefixCache:
    """The most recently used `entries` beginnings; with none it costs nothing and knows nothing."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def keys(self, messages: Sequence[ChatMessage]) -> list[bytes]:
        """What `match` and `remember` know a conversation by."""
        return prefix_keys(messages) if self._entries else []

    def match(self, keys: Sequence[bytes]) -> int:
        """How many leading messages are known."""
        for length in range(len(keys), 0, -1):
            if keys[length - 1] in self._known:
                return length
        return 0

    def remember(self, keys: Sequence[bytes]) -> None:
        """These were read just now; the longest unused are forgotten first."""
        for key in reversed(keys):  # the shortest beginnings last: they are the ones shared
            self._known[key] = None
            self._known.move_to_end(key)
        while len(self._known) > self._entries:
            self._known.popitem(last=False)
