"""What a process holds of one subscription: decided in memory, with the time as an argument."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from events.bus import Message


@dataclass(slots=True)
class _Copy:
    """A message that was received; times are the event loop's, in seconds."""

    message: Message
    ack_id: str  # names the delivery; a message that comes again has another one
    received_at: float
    lease_until: float
    given: bool = False  # to a handler
    answered: bool = False  # an answer is on its way to the server


@dataclass(slots=True, kw_only=True)
class Held:
    """The messages of one subscription that this process received and the server waits to hear of.

    A lease lasts `lease_s` and is extended until `hold_s` after the message came; then it is left to
    end, and the message comes again, here or elsewhere. While a handler has a message, another delivery
    of it is not given out: only its newer name is kept.
    """

    lease_s: float
    hold_s: float
    _copies: dict[str, _Copy] = field(default_factory=dict)  # by message id
    _unread: deque[str] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self._copies)

    @property
    def bytes(self) -> int:
        """The bodies' size."""
        return sum(len(copy.message.data) for copy in self._copies.values())

    def take_in(self, message: Message, ack_id: str, now: float) -> None:
        """A message was delivered, leased until `now + lease_s`."""
        copy = self._copies.get(message.id)
        if copy is None or not self._wanted(copy, now):
            self._copies[message.id] = _Copy(message, ack_id, now, now + self.lease_s)
            self._unread.append(message.id)
        else:
            copy.ack_id = ack_id
            copy.lease_until = now + self.lease_s

    def give_out(self, limit: int, now: float) -> list[Message]:
        """At most `limit` messages nobody here has yet and whose lease runs, in the order they came."""
        return list(islice(self._ready(now), limit))

    def _ready(self, now: float) -> Iterator[Message]:
        while self._unread:
            message_id = self._unread.popleft()
            copy = self._copies.get(message_id)
            if copy is None or copy.given or copy.answered:
                continue
            if copy.lease_until <= now:
                del self._copies[message_id]
                continue
            copy.given = True
            yield copy.message

    def given(self, message_id: str) -> Message | None:
        """A message that was given out and not answered yet."""
        copy = self._copies.get(message_id)
        return None if copy is None or copy.answered else copy.message

    def answer(self, message_ids: Iterable[str]) -> list[str]:
        """The names to answer these messages by; from now on their leases are not extended."""
        copies = [copy for message_id in message_ids if (copy := self._copies.get(message_id))]
        for copy in copies:
            copy.answered = True
        return [copy.ack_id for copy in copies]

    def forget_answered(self, message_ids: Iterable[str]) -> None:
        """The server heard the answers."""
        for message_id in message_ids:
            copy = self._copies.get(message_id)
            if copy is not None and copy.answered:
                del self._copies[message_id]

    def to_extend(self, now: float) -> list[str]:
        """The names of the deliveries whose lease has run for a third or more and is still wanted."""
        return [
            copy.ack_id
            for copy in self._copies.values()
            if self._wanted(copy, now) and copy.lease_until - now <= self.lease_s * 2 / 3
        ]

    def extended(self, ack_ids: Iterable[str], now: float) -> None:
        """The server extended these leases; `now` is when it was asked to."""
        names = frozenset(ack_ids)
        for copy in self._copies.values():
            if copy.ack_id in names:
                copy.lease_until = now + self.lease_s

    def forget_expired(self, now: float) -> None:
        """Lets go of what will come again anyway.

        What a handler has stays known until its time is over, also when no extension got through:
        another delivery would only be handled twice at the same time.
        """
        for message_id, copy in list(self._copies.items()):
            if copy.lease_until <= now and not (copy.given and self._wanted(copy, now)):
                del self._copies[message_id]

    def _wanted(self, copy: _Copy, now: float) -> bool:
        return not copy.answered and now < copy.received_at + self.hold_s

    def give_up(self) -> Sequence[str]:
        """The names of everything that was not answered; nothing is held any more."""
        names = [copy.ack_id for copy in self._copies.values() if not copy.answered]
        self._copies.clear()
        self._unread.clear()
        return names
