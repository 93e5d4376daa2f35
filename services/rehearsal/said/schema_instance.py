"""Makes up instances of JSON schemas: what a tool is called with, and what a structured answer holds.

The smallest depth at which there is one is used, so recursion ends; what was made up is checked before
it is said.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import ceil, floor
from random import Random
from typing import Any

from events.words import Invalid
from services.rehearsal.said.schema import Schema, Steps, canonical, fraction, is_valid, rows, target, types
from services.rehearsal.said.schema_merge import merged
from services.rehearsal.said.strings import string

DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
MOST_ITEMS = 1000
TRIES = 8  # at each depth, with other dice
ANY = ["object", "array", "string", "number", "boolean", "null"]
USUAL = 100  # numbers are up to so far from a bound that is given alone


class ImpossibleError(Exception):
    """No instance was found this way."""


def instance(schema: Schema, dice: bytes) -> Any:
    """The instance these dice stand for. Raises `Invalid` where none was found, or the schema is none."""
    steps = Steps()
    try:
        for depth in DEPTHS:
            for attempt in range(TRIES):
                value = _attempt(schema, _Maker(schema, dice, attempt, steps), depth)
                if value is not ImpossibleError:
                    return value
    except RecursionError:
        raise Invalid("The schema is nested too deeply.") from None
    except (TypeError, AttributeError, ValueError, KeyError) as error:
        raise Invalid(f"The schema cannot be read: {str(error)[:80]}.") from error
    raise Invalid("No instance of the schema was found; this engine makes up simpler ones.")


def _attempt(schema: Schema, maker: "_Maker", depth: int) -> Any:
    try:
        value = maker.make(schema, depth)
    except ImpossibleError:
        return ImpossibleError
    return value if maker.fits(schema, value) else ImpossibleError


class _Maker:
    def __init__(self, root: Schema, dice: bytes, attempt: int, steps: Steps) -> None:
        self._root = root
        self._steps = steps
        self._attempt = attempt
        self._dice = Random(b"%d/%b" % (attempt, dice))  # noqa: S311  (no secrets)
        self._open: set[str] = set()  # references that are being made an instance of

    def fits(self, schema: Schema, value: object) -> bool:
        return is_valid(schema, value, self._root, self._steps)

    def make(self, schema: Schema, depth: int) -> Any:
        """Something that most probably is an instance, nested up to `depth`."""
        self._steps.take()
        if schema is False or depth < 0:
            raise ImpossibleError
        if schema is True:
            return string({}, self._dice)
        if not isinstance(schema, dict):
            raise Invalid(f"A schema is {str(schema)[:80]!r} where an object, true or false should be.")
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._referred(reference, schema, depth)
        if "allOf" in schema:
            rest = {name: told for name, told in schema.items() if name != "allOf"}
            return self.make(merged([rest, *schema["allOf"]]), depth)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._one_of(keyword, schema, depth)
        if "if" in schema:
            return self._conditional(schema, depth)
        return self._plain(schema, depth)

    def _referred(self, reference: str, schema: Mapping[str, Any], depth: int) -> Any:
        rest = {name: told for name, told in schema.items() if name != "$ref"}
        fresh = reference not in self._open
        self._open.add(reference)
        try:
            # A reference takes a step down, or one that leads to itself would never end.
            return self.make(merged([rest, target(self._root, reference)]), depth - (not fresh))
        finally:
            if fresh:
                self._open.discard(reference)

    def _one_of(self, keyword: str, schema: Mapping[str, Any], depth: int) -> Any:
        rest = {name: told for name, told in schema.items() if name != keyword}
        options = schema[keyword]
        first = self._dice.randrange(len(options))
        for option in (*options[first:], *options[:first]):
            try:
                value = self.make(merged([rest, option]), depth)
            except ImpossibleError:
                continue
            if self.fits(schema, value):
                return value
        raise ImpossibleError

    def _conditional(self, schema: Mapping[str, Any], depth: int) -> Any:
        rest = {name: told for name, told in schema.items() if name not in ("if", "then", "else")}
        ways = ([schema["if"], schema.get("then", True)], [schema.get("else", True)])
        for way in ways:
            try:
                value = self.make(merged([rest, *way]), depth)
            except ImpossibleError:
                continue
            if self.fits(schema, value):
                return value
        raise ImpossibleError

    # --- one value

    def _plain(self, schema: Mapping[str, Any], depth: int) -> Any:
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            bare = {name: told for name, told in schema.items() if name != "enum"}
            fitting = [value for value in schema["enum"] if self.fits(bare, value)]
            if not fitting:
                raise ImpossibleError
            return self._dice.choice(fitting)
        names = types(schema) or ([_implied(schema)] if self._attempt < TRIES // 2 else ANY)
        return self._of_type(self._dice.choice(names), schema, depth)

    def _of_type(self, kind: str, schema: Mapping[str, Any], depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth - 1)
            case "array":
                return self._array(schema, depth - 1)
            case "string":
                return string(schema, self._dice)
            case "integer" | "number":
                return self._number(schema, Fraction(1) if kind == "integer" else None)
            case "boolean":
                return self._dice.random() < 0.5
        return None

    def _number(self, schema: Mapping[str, Any], unit: Fraction | None) -> int | float:
        low, high = _bounds(schema)
        asked = schema.get("multipleOf")
        step = unit if asked is None else fraction(asked)
        if asked is not None and unit is not None and step is not None:
            step = _common(step, unit)
        if step is None:
            step = Fraction(1) if high - low >= 4 else (high - low) / 4
        if step <= 0:
            return _number_of(low)
        first, last = ceil(low / step), floor(high / step)
        while first <= last and not self.fits(_open_bounds(schema), _number_of(first * step)):
            first += 1
        while last > first and not self.fits(_open_bounds(schema), _number_of(last * step)):
            last -= 1
        if first > last:
            raise ImpossibleError
        if not self._attempt:
            return _number_of(self._dice.randint(first, last) * step)
        if unit is None and asked is None and last > first:  # perhaps it must not be a whole number
            return _number_of((first + last) * step / 2 + step / 2)
        return _number_of(min(first + self._attempt // 2, last) * step)

    # --- many values

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first, rest = rows(schema)
        least = max(schema.get("minItems", 0), schema.get("minContains", 1) if "contains" in schema else 0)
        if least > MOST_ITEMS:
            raise Invalid(f"The schema wants {least} items; this engine makes up {MOST_ITEMS} at most.")
        wanted = max(least, min(len(first) + (rest is not False), schema.get("maxItems", len(first) + 1)))
        made: list[Any] = []
        for at in range(wanted):
            one = first[at] if at < len(first) else rest
            if "contains" in schema and at >= len(first):
                one = merged([one, schema["contains"]])
            try:
                made.append(self._item(one, depth, made if schema.get("uniqueItems") else ()))
            except ImpossibleError:
                if at < least:
                    raise
                break
        return made

    def _item(self, schema: Schema, depth: int, others: list[Any] | tuple[()]) -> Any:
        taken = {canonical(other) for other in others}
        for _ in range(64 if others else 1):
            value = self.make(schema, depth)
            if canonical(value) not in taken:
                return value
        raise ImpossibleError

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        made: dict[str, Any] = {}
        for name, told in schema.get("properties", {}).items():
            if name in required or self._wanted(told):
                self._add(made, name, told, depth, needed=name in required)
        for name in schema.get("required", ()):
            if name not in made:
                self._add(made, name, schema.get("additionalProperties", True), depth, needed=True)
        for name in self._more_names(schema, made):
            self._add(made, name, schema.get("additionalProperties", True), depth, needed=True)
        return made

    def _wanted(self, schema: Schema) -> bool:
        """Whether a property is made that could be left out; in later attempts, only some are."""
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        again = reference == "#" or reference in self._open
        return not again and (self._attempt == 0 or self._dice.random() < 0.5)

    def _add(self, made: dict[str, Any], name: str, schema: Schema, depth: int, *, needed: bool) -> None:
        try:
            made[name] = self.make(schema, depth)
        except ImpossibleError:
            if needed:
                raise

    def _more_names(self, schema: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[str]:
        more = schema.get("additionalProperties", True)
        free = not schema.get("properties") and isinstance(more, dict) and self._attempt == 0
        least = max(schema.get("minProperties", 0), min(1, schema.get("maxProperties", 1)) if free else 0)
        if least > MOST_ITEMS:
            raise Invalid(f"The schema wants {least} properties; this engine makes up {MOST_ITEMS} at most.")
        names = schema.get("propertyNames", {})
        while len(made) < least:
            self._steps.take()
            name = self.make(merged([names, {"type": "string"}]), 1) if names else f"made_up_{len(made) + 1}"
            if name not in made:
                yield name


def _implied(schema: Mapping[str, Any]) -> str:
    """The type of a schema that does not say."""
    signs = {
        "object": ("properties", "required", "additionalProperties", "minProperties", "propertyNames"),
        "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"),
        "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    }
    return next((kind for kind, names in signs.items() if any(name in schema for name in names)), "string")


def _bounds(schema: Mapping[str, Any]) -> tuple[Fraction, Fraction]:
    lows = [fraction(schema[name]) for name in ("minimum", "exclusiveMinimum") if name in schema]
    highs = [fraction(schema[name]) for name in ("maximum", "exclusiveMaximum") if name in schema]
    reach = USUAL * fraction(schema.get("multipleOf", 1))
    if lows:
        low = max(lows)
        return low, min(highs) if highs else low + reach
    high = min(highs) if highs else reach
    return min(Fraction(0), high - reach), high


def _open_bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: schema[name] for name in ("exclusiveMinimum", "exclusiveMaximum") if name in schema}


def _common(one: Fraction, other: Fraction) -> Fraction:
    """The least number that is a multiple of both."""
    product = one * other
    both = Fraction(_gcd(one.numerator * other.denominator, other.numerator * one.denominator))
    return product / (both / (one.denominator * other.denominator))


def _gcd(one: int, other: int) -> int:
    while other:
        one, other = other, one % other
    return one


def _number_of(number: Fraction) -> int | float:
    return number.numerator if number.denominator == 1 else float(number)
