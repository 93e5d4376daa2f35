"""The rows of a bus: one for each subscription of a message, and one for each dead letter."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec

from events.bus import Message
from events.catalog import Subscription
from events.words import Record
from services.adapters import redelivery
from services.adapters.dead_letter import KEPT, DeadLetter
from services.adapters.sqlite.schema import micros, moment

Row: TypeAlias = tuple[bool, bool, int, int, int, str, str, bytes, bytes]
_Found: TypeAlias = tuple[str, bytes, bytes, int, int]  # id, attributes, data, published_at, attempt

_INSERT = """
    INSERT INTO messages
        (ready, leased, due_at, attempt, published_at, subscription, id, attributes, data)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_READY = """
    SELECT seq, id, attributes, data, published_at, attempt + 1 FROM messages
    WHERE subscription = ? AND ready = 1 ORDER BY seq LIMIT ?
"""
_LEASE = """
    UPDATE messages SET ready = 0, leased = 1, due_at = ?, attempt = attempt + 1
    WHERE subscription = ? AND ready = 1 AND seq <= ?
"""
_FIRST_DUE = "SELECT min(due_at) FROM messages WHERE subscription = ? AND ready = 0"
_EXHAUSTED = """
    SELECT id FROM messages WHERE subscription = ? AND ready = 0 AND due_at <= ? AND attempt >= ?
"""
_REVIVE = """
    UPDATE messages SET ready = 1, leased = 0 WHERE subscription = ? AND ready = 0 AND due_at <= ?
"""
_RELEASE_ALL = """
    UPDATE messages INDEXED BY messages_due SET leased = 0, due_at = ? WHERE ready = 0 AND leased = 1
"""
_POSTPONE = "UPDATE messages SET ready = 0, leased = 0, due_at = ? WHERE subscription = ? AND id = ?"
_BURY = """
    INSERT INTO dead_letters
        (id, subscription, reason, dead_at, attempt, published_at, message_id, attributes, data)
    SELECT lower(hex(randomblob(16))), subscription, ?, ?, attempt, published_at, id, attributes, data
    FROM messages WHERE subscription = ? AND id = ?
"""
_DELETE = "DELETE FROM messages WHERE subscription = ? AND id = ?"
_UNBURY = """
    INSERT INTO messages
        (ready, leased, due_at, attempt, published_at, subscription, id, attributes, data)
    SELECT 1, 0, ?, 0, published_at, subscription, message_id, attributes, data
    FROM dead_letters WHERE id = ?
"""
_DEAD_LETTERS = """
    SELECT id, subscription, reason, dead_at, message_id, attributes, data, published_at, attempt
    FROM dead_letters WHERE dead_at > ? ORDER BY seq DESC LIMIT ?
"""
# The oldest come first in the table, so that this looks at no more rows than it may delete.
_FORGET_DEAD = """
    DELETE FROM dead_letters WHERE dead_at <= ? AND seq IN (SELECT seq FROM dead_letters ORDER BY seq LIMIT ?)
"""

_attributes = msgspec.json.Decoder(dict[str, str])


class Leased(Record):
    """What a look at a subscription found: the messages leased and until when, and when the next of
    those that were leased or held back before comes due.
    """

    messages: list[Message]
    lease_until: datetime
    next_due: datetime | None


def row(message: Message, subscription: Subscription, published_at: datetime, *, leased: bool) -> Row:
    """The row of a message on its way to a subscription, waiting or already leased."""
    due_at = published_at + redelivery.lease(subscription.retry) if leased else published_at
    return (
        not leased,
        leased,
        micros(due_at),
        int(leased),
        micros(published_at),
        subscription.name,
        message.id,
        msgspec.json.encode(message.attributes),
        message.data,
    )


def insert(rows: Sequence[Row], connection: sqlite3.Connection) -> None:
    """Stores the rows in their order."""
    connection.executemany(_INSERT, rows)


def lease(subscription: Subscription, limit: int, now: datetime, connection: sqlite3.Connection) -> Leased:
    """Leases the oldest messages that may be delivered at `now`."""
    name = subscription.name
    next_due = _revive(subscription, now, connection)
    lease_until = now + redelivery.lease(subscription.retry)
    found = connection.execute(_READY, (name, limit)).fetchall()
    if found:
        last_seq = found[-1][0]
        connection.execute(_LEASE, (micros(lease_until), name, last_seq))
    messages = [_message(subscription.topic, row[1:]) for row in found]
    return Leased(messages=messages, lease_until=lease_until, next_due=next_due)


def _revive(subscription: Subscription, now: datetime, connection: sqlite3.Connection) -> datetime | None:
    """Makes ready what came due, or gives it up; returns when the next one comes due."""
    name, retry = subscription.name, subscription.retry
    next_due = _first_due(name, connection)
    if next_due is None or next_due > now:
        return next_due
    exhausted = connection.execute(_EXHAUSTED, (name, micros(now), retry.attempts)).fetchall()
    for (message_id,) in exhausted:
        bury(name, message_id, redelivery.unanswered(retry), now, connection)
    connection.execute(_REVIVE, (name, micros(now)))
    return _first_due(name, connection)


def _first_due(name: str, connection: sqlite3.Connection) -> datetime | None:
    (due_at,) = connection.execute(_FIRST_DUE, (name,)).fetchone()
    return None if due_at is None else moment(due_at)


def _message(topic: str, found: _Found) -> Message:
    message_id, attributes, data, published_at, attempt = found
    return Message(
        topic=topic,
        attributes=_attributes.decode(attributes),
        data=data,
        id=message_id,
        published_at=moment(published_at),
        attempt=attempt,
    )


def release_all(now: datetime, connection: sqlite3.Connection) -> None:
    """Ends every lease."""
    connection.execute(_RELEASE_ALL, (micros(now),))


def remove(name: str, ids: Sequence[str], connection: sqlite3.Connection) -> None:
    """Forgets messages that were handled."""
    connection.executemany(_DELETE, [(name, message_id) for message_id in ids])


def refuse(subscription: Subscription, id: str, now: datetime, connection: sqlite3.Connection) -> None:
    """Holds a message back for its backoff, or gives it up after its last attempt."""
    name, retry = subscription.name, subscription.retry
    for (attempt,) in connection.execute(
        "SELECT attempt FROM messages WHERE subscription = ? AND id = ?", (name, id)
    ).fetchall():
        if attempt >= retry.attempts:
            bury(name, id, redelivery.refused(retry), now, connection)
        else:
            due_at = micros(now + redelivery.backoff(retry, attempt))
            connection.execute(_POSTPONE, (due_at, name, id))


def bury(name: str, id: str, reason: str, now: datetime, connection: sqlite3.Connection) -> None:
    """Makes a message a dead letter; nothing where it is gone."""
    connection.execute(_BURY, (reason, micros(now), name, id))
    connection.execute(_DELETE, (name, id))


def unbury(dead_letter_id: str, now: datetime, connection: sqlite3.Connection) -> str | None:
    """Puts a dead letter back, its attempts counted from the beginning; returns its subscription."""
    found = connection.execute(
        "SELECT subscription FROM dead_letters WHERE id = ? AND dead_at > ?",
        (dead_letter_id, micros(now - KEPT)),
    ).fetchone()
    if found is None:
        return None
    connection.execute(_UNBURY, (micros(now), dead_letter_id))
    connection.execute("DELETE FROM dead_letters WHERE id = ?", (dead_letter_id,))
    return str(found[0])


def forget_dead(now: datetime, limit: int, connection: sqlite3.Connection) -> int:
    """Deletes the dead letters among the `limit` oldest whose time is over by `now`; how many."""
    return connection.execute(_FORGET_DEAD, (micros(now - KEPT), limit)).rowcount


def dead_letters(
    topics: Mapping[str, str], now: datetime, limit: int, connection: sqlite3.Connection
) -> list[DeadLetter]:
    """The newest dead letters; `topics` gives the topic of each subscription."""
    return [
        DeadLetter(
            id=dead_letter_id,
            subscription=name,
            reason=reason,
            dead_at=moment(dead_at),
            message=_message(topics[name], (message_id, *message)),
        )
        for dead_letter_id, name, reason, dead_at, message_id, *message in connection.execute(
            _DEAD_LETTERS, (micros(now - KEPT), limit)
        )
    ]


def backlog(connection: sqlite3.Connection) -> dict[str, int]:
    """How many messages each subscription has that were not acknowledged."""
    return dict(connection.execute("SELECT subscription, count(*) FROM messages GROUP BY subscription"))


def declare(subscriptions: Sequence[Subscription], connection: sqlite3.Connection) -> None:
    """Stores subscriptions, or their new terms."""
    connection.executemany(
        "INSERT INTO subscriptions (name, body) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET body = excluded.body",
        [(subscription.name, msgspec.json.encode(subscription)) for subscription in subscriptions],
    )


def declared(connection: sqlite3.Connection) -> list[Subscription]:
    """Every subscription stored."""
    return [
        msgspec.json.decode(body, type=Subscription)
        for (body,) in connection.execute("SELECT body FROM subscriptions ORDER BY name")
    ]
