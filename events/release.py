"""What was promised to readers elsewhere: the schema of a released version of an event never changes."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from events.catalog import KNOWN
from events.envelope import Event, type_of
from events.export import schema_of

PATH = "events/released.json"
WORDS = ("title", "description")  # for people: they may be mended


def digest_of(event: type[Event]) -> str:
    """The SHA-256, in hex, of all that a reader of the event relies on: its schema without its words, and
    without the names of its parts.
    """
    schema = schema_of(event)
    canonical = json.dumps(_bare(schema, schema.pop("$defs", {})), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _bare(schema: Any, parts: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        found = [_bare(item, parts) for item in schema]
        return sorted(found) if all(isinstance(item, str) for item in found) else found
    if not isinstance(schema, dict):
        return schema
    if part := schema.get("$ref"):
        return _bare(parts[part.rpartition("/")[2]], parts)
    # A property may be called "title" as well: then it is a schema, not text.
    return {
        name: _bare(value, parts)
        for name, value in schema.items()
        if not (name in WORDS and isinstance(value, str))
    }


def broken(pins: Mapping[str, str], known: Mapping[str, type[Event]] = KNOWN) -> list[str]:
    """A sentence for each released version, by its type and digest in `pins`, that is not as it was."""
    return [told for name, digest in pins.items() if (told := _judge(name, digest, known.get(name)))]


def _judge(name: str, digest: str, event: type[Event] | None) -> str:
    if event is None:
        return f"{name} is released and gone: keep it beside its next version, readers elsewhere need it."
    if digest_of(event) != digest:
        return f"{name} is released and its schema changed: leave it as it was, and make the next version."
    return ""


def pinned(pins: Mapping[str, str], known: Mapping[str, type[Event]] = KNOWN) -> dict[str, str]:
    """The pins of a release: those there are, and one for every version that has none, by type."""
    fresh = {type_of(event): digest_of(event) for event in known.values()}
    return dict(sorted({**fresh, **pins}.items()))
