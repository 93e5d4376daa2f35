"""Renders the JSON Schema of the configuration document, for editors and for whoever writes one."""

from typing import Any

import msgspec
from msgspec.inspect import DictType, StructType, Type, UnionType, VarTupleType, type_info

from events.config import Config
from events.reference import meaning, paragraphs

PATH = "events/schemas/penstock.config.json"


def config_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12. What depends on several fields is left to `penstock config validate`."""
    _, parts = msgspec.json.schema_components((Config,), ref_template="#/$defs/{name}")
    for struct in config_structs():
        part = parts[struct.cls.__name__]
        part["description"] = " ".join(paragraphs(struct.cls))
        for field in struct.fields:
            part["properties"][field.encode_name]["description"] = meaning(struct.cls, field.name)
    own = parts.pop(Config.__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:penstock:config",
        **own,
        "title": "Penstock's configuration document",
        "$defs": parts,
    }


def config_structs() -> list[StructType]:
    """The document's struct and all those it is made of."""
    found: dict[type, StructType] = {}
    _collect(type_info(Config), found)
    return list(found.values())


def _collect(kind: Type, found: dict[type, StructType]) -> None:
    match kind:
        case StructType() if kind.cls not in found:
            found[kind.cls] = kind
            for field in kind.fields:
                _collect(field.type, found)
        case DictType():
            _collect(kind.value_type, found)
        case VarTupleType():
            _collect(kind.item_type, found)
        case UnionType():
            for member in kind.types:
                _collect(member, found)
