"""JSON Schema: where a reference leads, and whether a value is an instance (drafts 7 to 2020-12).

`format`, `$dynamicRef`, `unevaluated...` and references to other documents are not judged.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any
from urllib.parse import unquote

import msgspec

from events.words import Invalid
from services.rehearsal.said import pattern

Schema = Any  # a JSON document: an object, true or false
MOST_STEPS = 20_000

_encode = msgspec.json.Encoder(order="deterministic").encode


class Steps:
    """How much work one schema may make; so nobody can stop the engine with a clever one."""

    def __init__(self, left: int = MOST_STEPS) -> None:
        self._left = left

    def take(self) -> None:
        """One more. Raises `Invalid` where that is too much."""
        self._left -= 1
        if self._left < 0:
            raise Invalid("The schema takes too much work; this engine makes up simpler ones.")


def target(root: Schema, reference: object) -> Schema:
    """What `$ref` points at in this document. Raises `Invalid` where it is not there."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise Invalid(
            f"The reference {str(reference)[:80]!r} does not begin with #; others are not known here."
        )
    place = root
    for step in unquote(reference[1:]).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(place, list) and name.isdecimal() and int(name) < len(place):
            place = place[int(name)]
        elif isinstance(place, dict) and name in place:
            place = place[name]
        else:
            raise Invalid(f"The reference {reference[:80]!r} leads nowhere.")
    return place


def same(one: object, other: object) -> bool:
    """Whether two values are the same JSON; 1 and 1.0 are."""
    return canonical(one) == canonical(other)


def canonical(value: object) -> bytes:
    """The one way to write a value."""
    return _encode(_plain(value))


def _plain(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def type_of(value: object) -> str:
    """The name JSON Schema has for it."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if value == int(value) else "number"
    names: tuple[tuple[type, str], ...] = ((str, "string"), (list, "array"), (dict, "object"))
    return next((name for kind, name in names if isinstance(value, kind)), "null")


def is_valid(schema: Schema, value: object, root: Schema, steps: Steps) -> bool:
    """Whether the value is an instance. Raises `Invalid` where the schema cannot be read."""
    steps.take()
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict):
        raise Invalid(f"A schema is {str(schema)[:80]!r} where an object, true or false should be.")
    told = _Told(schema, root, steps)
    kind = type_of(value)
    checks = [_generic, _branches, *_BY_TYPE.get(kind, ())]
    return all(check(told, value) for check in checks)


class _Told:
    """A schema that is being looked at."""

    def __init__(self, schema: Mapping[str, Any], root: Schema, steps: Steps) -> None:
        self.schema = schema
        self.root = root
        self.steps = steps

    def fits(self, schema: Schema, value: object) -> bool:
        """Whether the value is an instance of a part of it."""
        return is_valid(schema, value, self.root, self.steps)

    def count(self, name: str, value: object) -> int:
        """Of the schemas under a keyword, how many the value fits."""
        return sum(self.fits(schema, value) for schema in self.schema[name])


def types(schema: Mapping[str, Any]) -> list[str]:
    """The types it allows; empty where it does not say."""
    told = schema.get("type", [])
    names = [told] if isinstance(told, str) else told
    known = ("object", "array", "string", "integer", "number", "boolean", "null")
    if not isinstance(names, list) or any(name not in known for name in names):
        raise Invalid(f"The type {str(told)[:80]!r} is none of {', '.join(known)}.")
    return names


def _generic(told: _Told, value: object) -> bool:
    schema, kind = told.schema, type_of(value)
    allowed = types(schema)
    if allowed and kind not in allowed and not (kind == "integer" and "number" in allowed):
        return False
    if "const" in schema and not same(schema["const"], value):
        return False
    return "enum" not in schema or any(same(one, value) for one in schema["enum"])


def _branches(told: _Told, value: object) -> bool:
    schema = told.schema
    if "$ref" in schema and not told.fits(target(told.root, schema["$ref"]), value):
        return False
    if "allOf" in schema and told.count("allOf", value) < len(schema["allOf"]):
        return False
    if "anyOf" in schema and not told.count("anyOf", value):
        return False
    if "oneOf" in schema and told.count("oneOf", value) != 1:
        return False
    if "not" in schema and told.fits(schema["not"], value):
        return False
    if "if" in schema:
        return told.fits(schema.get("then" if told.fits(schema["if"], value) else "else", True), value)
    return True


def _number(told: _Told, value: Any) -> bool:
    schema, exact = told.schema, fraction(value)
    return (
        exact >= fraction(schema.get("minimum", value))
        and exact <= fraction(schema.get("maximum", value))
        and ("exclusiveMinimum" not in schema or exact > fraction(schema["exclusiveMinimum"]))
        and ("exclusiveMaximum" not in schema or exact < fraction(schema["exclusiveMaximum"]))
        and ("multipleOf" not in schema or exact % fraction(schema["multipleOf"]) == 0)
    )


def fraction(number: object) -> Fraction:
    """A number exactly as it is written."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise Invalid(f"The schema has {str(number)[:80]!r} where a number should be.")
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


def _within(told: _Told, size: int, least: str, most: str) -> bool:
    return bool(told.schema.get(least, 0) <= size <= told.schema.get(most, size))


def _string(told: _Told, value: Any) -> bool:
    if not _within(told, len(value), "minLength", "maxLength"):
        return False
    asked = told.schema.get("pattern")
    return asked is None or pattern.matches(pattern.parse(asked), value)


def _array(told: _Told, value: Any) -> bool:
    schema = told.schema
    if not _within(told, len(value), "minItems", "maxItems"):
        return False
    if schema.get("uniqueItems") and len({canonical(item) for item in value}) < len(value):
        return False
    first, rest = rows(schema)
    if not all(told.fits(one, item) for one, item in zip(first, value, strict=False)):
        return False
    if not all(told.fits(rest, item) for item in value[len(first) :]):
        return False
    if "contains" not in schema:
        return True
    found = sum(told.fits(schema["contains"], item) for item in value)
    return bool(schema.get("minContains", 1) <= found <= schema.get("maxContains", found))


def rows(schema: Mapping[str, Any]) -> tuple[list[Schema], Schema]:
    """The schemas of an array's first items, and that of all others."""
    items = schema.get("items", True)
    if isinstance(items, list):  # as it was before 2020-12
        return items, schema.get("additionalItems", True)
    return schema.get("prefixItems", []), items


def _object(told: _Told, value: Any) -> bool:
    schema = told.schema
    if not _within(told, len(value), "minProperties", "maxProperties"):
        return False
    needed = schema.get("dependentRequired", {})
    required = [*schema.get("required", ()), *(name for key in value for name in needed.get(key, ()))]
    if any(name not in value for name in required):
        return False
    names = schema.get("propertyNames", True)
    return all(told.fits(names, name) and _member(told, name, item) for name, item in value.items())


def _member(told: _Told, name: str, item: object) -> bool:
    known = told.schema.get("properties", {})
    applying = [known[name]] if name in known else []
    for expression, schema in told.schema.get("patternProperties", {}).items():
        if pattern.matches(pattern.parse(expression), name):
            applying.append(schema)
    if not applying:
        applying.append(told.schema.get("additionalProperties", True))
    return all(told.fits(schema, item) for schema in applying)


_BY_TYPE: dict[str, tuple[Callable[[_Told, Any], bool], ...]] = {
    "integer": (_number,),
    "number": (_number,),
    "string": (_string,),
    "array": (_array,),
    "object": (_object,),
}
