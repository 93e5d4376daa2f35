"""What the cache keeps: an answer, and the entry it lies in, sealed."""

from datetime import datetime

import msgspec

from events.words import Invalid, Record, Usage

KIND = "cache"  # what an answer is sealed as


class Answer(Record):
    """An answer as it went to the client, byte for byte. `usage`: what it cost when it was made, at the time
    `at`. `counted`: the engine said so; else it is our estimate.
    """

    body: bytes
    stream: bool
    usage: Usage
    counted: bool
    at: datetime


class Entry(Record):
    """An answer in the shared tier. `id` changes with every purge of what it belongs to, `key` never."""

    id: str
    key: str
    tenant: str
    model: str
    expire_at: datetime
    sealed: bytes


_answer = msgspec.msgpack.Decoder(Answer)


def packed(answer: Answer) -> bytes:
    """The bytes to be sealed."""
    return msgspec.msgpack.encode(answer)


def unpacked(clear: bytes) -> Answer:
    """The answer. Raises `Invalid` where it was packed by another release."""
    try:
        return _answer.decode(clear)
    except msgspec.DecodeError as error:
        raise Invalid(f"The cached answer is not one of this release: {error}.") from error
