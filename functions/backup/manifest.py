"""What an archive says of itself, and how it is told from an archive that was altered or of another kind."""

import hashlib
from datetime import UTC, datetime
from typing import Literal

import msgspec

from events.words import Invalid, Record, hashed_id

FORMAT = 1

Kind = Literal["data", "data-keys"]
# In the order they are copied: a body may be sealed under any key that is there once the data was copied.
KINDS: tuple[Kind, ...] = ("data", "data-keys")


class Archive(Record):
    """One archive, as lists show it. `bytes` is what it takes, `verified_at` when it was proven whole."""

    kind: Kind
    backup_id: str
    taken_at: datetime
    bytes: int
    verified_at: datetime | None = None


class Books(Record):
    """All sums of the ledger added up; `estimated` is the tokens in them no engine counted."""

    requests: int
    input: int
    output: int
    cached: int
    reasoning: int
    estimated: int


class Contents(Record):
    """What was found in the copy of a database.

    `schema`: how many steps of its schema it has seen. `rows`: by table. `books`: where it holds a ledger.
    """

    schema: int
    rows: dict[str, int]
    books: Books | None = None


class File(Record):
    """A file of an archive, exactly."""

    name: str
    bytes: int
    sha256: str


class Manifest(Record):
    """What an archive says of itself. `release`: the Penstock that wrote it."""

    backup_id: str
    kind: Kind
    taken_at: datetime
    release: str
    file: File
    contents: Contents
    format: int = FORMAT


class _Sealed(msgspec.Struct, frozen=True):
    manifest: msgspec.Raw
    seal: str


class _Format(msgspec.Struct, frozen=True):
    format: int = FORMAT
    release: str = "unknown"


def backup_id(event_id: str, slot: datetime) -> str:
    """The name of the backup an event asks for: sorts by time, and is the same when the event comes again."""
    at = slot.astimezone(UTC)  # to the millisecond: two may be taken by hand within a second
    return f"{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03d}Z-{hashed_id((event_id,))[:8]}"


def encode(manifest: Manifest) -> bytes:
    """The bytes to be sealed."""
    return msgspec.json.encode(manifest)


def digest(body: bytes) -> bytes:
    """What a seal holds of a manifest."""
    return hashlib.sha256(body).digest()


def sealed(body: bytes, seal: bytes) -> bytes:
    """The document that is stored: a manifest beside its seal."""
    return msgspec.json.encode(_Sealed(manifest=msgspec.Raw(body), seal=seal.hex()))


def unsealed(document: bytes) -> tuple[bytes, bytes]:
    """The bytes of a manifest, and the seal to be held against them. Raises `Invalid`."""
    try:
        found = msgspec.json.decode(document, type=_Sealed)
        return bytes(found.manifest), bytes.fromhex(found.seal)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"it is not a manifest ({error})") from error


def decode(body: bytes) -> Manifest:
    """A manifest. Raises `Invalid` where it is none, or of a newer form than is known here."""
    try:
        told = msgspec.json.decode(body, type=_Format)
        if told.format > FORMAT:
            raise Invalid(f"it was written by a newer release of Penstock ({told.release})")
        return msgspec.json.decode(body, type=Manifest)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"it is not a manifest ({error})") from error
