"""What is said to Firestore, in plain values: documents, writes, queries, and ids that are safe in a path."""

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias
from urllib.parse import quote

Value: TypeAlias = str | int | bool | bytes | datetime | None
Fields: TypeAlias = Mapping[str, Value]
Operator: TypeAlias = Literal["==", "in", "<", "<=", ">", ">="]
Condition: TypeAlias = tuple[str, Operator, Value | tuple[Value, ...]]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PIECE = 900 * 1024  # bytes of one value; a document with its names and other fields ends at 1 MiB
ABSENT = 0
PRESENT = -1

_ID_BYTES = 1_500
_RESERVED = re.compile(r"\.|\.\.|__.*__")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A document that was read. `version`: when it was last changed, in ns since 1970 by the server's
    clock; it grows with every change of the document.
    """

    path: str
    fields: Fields
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write of a commit.

    `fields`: None deletes the document. `merge`: fields not named here stay as they are. `counted`: added
    to what the field holds. `expect`: the version the document must have, `ABSENT` or `PRESENT`; None
    where it does not matter.
    """

    path: str
    fields: Fields | None
    merge: bool = False
    counted: Mapping[str, int] = field(default_factory=dict)
    expect: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Documents of a collection, or with `group` of all subcollections of that name, in `order`, all
    ascending and at the end by path.

    `under`: the path of the document a subcollection lies in. `after`: the values of `order` and the
    path of the document the found ones come behind. `fields`: what is read of each, everything where
    None.
    """

    collection: str
    where: tuple[Condition, ...] = ()
    order: tuple[str, ...] = ()
    after: tuple[tuple[Value, ...], str] | None = None
    limit: int | None = None
    fields: tuple[str, ...] | None = None
    group: bool = False
    under: str = ""


def create(path: str, fields: Fields) -> Write:
    """A new document; the commit fails where there is one."""
    return Write(path=path, fields=fields, expect=ABSENT)


def put(path: str, fields: Fields) -> Write:
    """A whole document, in place of one that may be there."""
    return Write(path=path, fields=fields)


def replace(path: str, fields: Fields, version: int) -> Write:
    """A whole document in place of the one that has this version (`ABSENT`: of none)."""
    return Write(path=path, fields=fields, expect=version)


def amend(path: str, fields: Fields) -> Write:
    """Some fields of a document; the commit fails where there is none."""
    return Write(path=path, fields=fields, merge=True, expect=PRESENT)


def count(path: str, fields: Fields, counted: Mapping[str, int]) -> Write:
    """Adds to fields of a document that need not be there yet, and sets others. It needs no read, and
    two at once add up.
    """
    return Write(path=path, fields=fields, merge=True, counted=counted)


def delete(path: str, version: int | None = None) -> Write:
    """No document any more, at this version only if one is given."""
    return Write(path=path, fields=None, expect=version)


def new_mark() -> bytes:
    """What tells one write from every other.

    Stored with a conditional write it serves twice. Whoever could not hear whether the write took place
    finds its own mark, or another one. And a write that changes nothing would leave the version as it
    was; with a mark, every write is a change.
    """
    return secrets.token_bytes(12)


def document_id(id: str) -> str:
    """An id as the last part of a path; different ids stay different.

    Firestore takes no "/", no "." and "..", no "__x__", nothing empty and nothing beyond 1,500 bytes.
    """
    safe = quote(id, safe=":@+=,")  # leaves letters, digits and "_.-~" as well
    if not safe or _RESERVED.fullmatch(safe):
        return f"!{safe}"
    if len(safe) > _ID_BYTES:
        return f"!{hashlib.sha256(id.encode()).hexdigest()}"
    return safe


def pieces(data: bytes) -> list[bytes]:
    """The bytes in parts that fit a document, in order; at least one."""
    return [data[start : start + PIECE] for start in range(0, len(data), PIECE)] or [b""]
