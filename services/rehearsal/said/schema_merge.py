"""Several JSON schemas as one, where that is easy; what is not is left to the check afterwards."""

from collections.abc import Callable, Sequence
from typing import Any

from services.rehearsal.said.schema import Schema, canonical, types


def merged(schemas: Sequence[Schema]) -> Schema:
    """A schema whose instances mostly are instances of all."""
    if any(schema is False for schema in schemas):
        return False
    whole: dict[str, Any] = {}
    for schema in schemas:
        for name, told in () if schema is True else schema.items():
            whole[name] = _both(name, whole[name], told) if name in whole else told
        if schema is not True and "type" in whole and "type" in schema and not whole["type"]:
            return False
    return whole


def _both(name: str, one: Any, other: Any) -> Any:
    rule = _RULES.get(name)
    return rule(one, other) if rule is not None else other


def _types(one: Any, other: Any) -> list[str]:
    left, right = types({"type": one}), types({"type": other})
    shared = [kind for kind in left if kind in right]
    if "integer" not in shared and "integer" in {*left, *right} and "number" in {*left, *right}:
        shared.append("integer")
    return shared


def _values(one: list[Any], other: list[Any]) -> list[Any]:
    also = {canonical(value) for value in other}
    return [value for value in one if canonical(value) in also]


def _named(one: dict[str, Schema], other: dict[str, Schema]) -> dict[str, Schema]:
    both = {name: {"allOf": [one[name], other[name]]} for name in one if name in other}
    return {**one, **other, **both}


def _all_of(one: Schema, other: Schema) -> Schema:
    return {"allOf": [one, other]}


_RULES: dict[str, Callable[[Any, Any], Any]] = {
    "type": _types,
    "enum": _values,
    "properties": _named,
    "patternProperties": _named,
    "required": lambda one, other: [*one, *(name for name in other if name not in one)],
    "items": _all_of,
    "contains": _all_of,
    "additionalProperties": _all_of,
    "propertyNames": _all_of,
    "allOf": lambda one, other: [*one, *other],
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
}
