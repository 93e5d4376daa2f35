"""The key of an exact answer: it is the same where everything is the same that can change the answer."""

import hashlib
from collections.abc import Mapping
from typing import Literal

import msgspec

from events.config import Model

KEY_BYTES = 20
# All other fields count, known or not. The model is told by what it resolves to.
NEUTRAL = frozenset({"model", "stream", "stream_options", "user", "metadata"})

# How an answer goes over the wire. One is never made of another: a stream is replayed as it was.
Framing = Literal["whole", "events", "events and usage"]
Body = Mapping[str, msgspec.Raw]

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def fields_of(body: bytes) -> Body:
    """The fields of a request body (a JSON object), their values as they are written."""
    return _fields.decode(body)


def framing_of(*, stream: bool, wants_usage: bool) -> Framing:
    """How the answer to a request is to go over the wire."""
    if not stream:
        return "whole"
    return "events and usage" if wants_usage else "events"


def key_of(secret: bytes, tenant: str, name: str, model: Model, framing: Framing, fields: Body) -> str:
    """40 hex digits, by keyed BLAKE2b over the name asked for, what it resolves to, and the raw bytes of
    every field that can change the answer. Without the tenant's `secret` (at most 64 bytes) it tells nothing.
    """
    hashed = hashlib.blake2b(key=secret, digest_size=KEY_BYTES, person=b"penstock-cache-1")
    resolved = (tenant, name, model.backend, model.served_as, model.version, framing)
    several = tuple(part for one in model.backends for part in (one.backend, one.served_as))
    for part in resolved + several:
        _add(hashed, part.encode())
    for field in sorted(fields.keys() - NEUTRAL):
        _add(hashed, field.encode())
        _add(hashed, memoryview(fields[field]))
    return hashed.hexdigest()


def _add(hashed: "hashlib.blake2b", part: bytes | memoryview) -> None:
    """With its length before it, so that no two lists of parts look alike."""
    hashed.update(len(part).to_bytes(8))
    hashed.update(part)
