from typing import Any

import pytest

from events.words import Invalid
from services.rehearsal.said.schema import Steps, is_valid

ITEM = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}

# A schema, what fits it, and what does not.
CASES: list[tuple[Any, list[Any], list[Any]]] = [
    (True, [1, None], []),
    (False, [], [1, None]),
    ({"type": "integer"}, [1, 1.0, -3], [1.5, True, "1", None]),
    ({"type": "number"}, [1, 1.5], [True, "1"]),
    ({"type": ["string", "null"]}, ["", None], [0, []]),
    ({"type": "boolean"}, [True, False], [0, 1]),
    ({"const": {"a": [1.0]}}, [{"a": [1]}], [{"a": [2]}, {}]),
    ({"enum": [1, "a", None]}, [1, "a", None], [True, "b"]),
    ({"minimum": 2, "maximum": 4}, [2, 4, "not a number"], [1.9, 5]),
    ({"exclusiveMinimum": 2, "exclusiveMaximum": 4}, [3, 2.1], [2, 4]),
    ({"multipleOf": 0.01}, [0.07, 1, 19.99], [0.005]),
    ({"minLength": 2, "maxLength": 3}, ["ab", "äöü", 5], ["a", "abcd"]),
    ({"pattern": "b+"}, ["abc"], ["ac"]),
    ({"minItems": 1, "maxItems": 2}, [[1], [1, 2]], [[], [1, 2, 3]]),
    ({"uniqueItems": True}, [[1, 2], [1, "1"]], [[1, 1.0]]),
    ({"items": {"type": "string"}}, [[], ["a"]], [["a", 1]]),
    ({"prefixItems": [{"const": 1}], "items": False}, [[1], []], [[2], [1, 1]]),
    ({"items": [{"const": 1}], "additionalItems": {"const": 2}}, [[1, 2]], [[1, 1]]),
    ({"contains": {"const": 1}, "maxContains": 1}, [[1], [1, 2]], [[], [1, 1]]),
    ({"required": ["a"]}, [{"a": 1}, 5], [{}]),
    ({"properties": {"a": {"const": 1}}}, [{"a": 1}, {}], [{"a": 2}]),
    ({"properties": {"a": True}, "additionalProperties": False}, [{"a": 1}], [{"b": 1}]),
    ({"patternProperties": {"x": {"const": 1}}}, [{"x": 1}, {"y": 2}], [{"x": 2}]),
    ({"patternProperties": {"x": True}, "additionalProperties": False}, [{"x": 1}], [{"y": 1}]),
    ({"propertyNames": {"maxLength": 1}}, [{"a": 1}], [{"ab": 1}]),
    ({"minProperties": 1, "maxProperties": 1}, [{"a": 1}], [{}, {"a": 1, "b": 2}]),
    ({"dependentRequired": {"a": ["b"]}}, [{"b": 1}, {"a": 1, "b": 1}], [{"a": 1}]),
    ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, [1, 2], [0, 3]),
    ({"anyOf": [{"const": 1}, {"const": 2}]}, [1, 2], [3]),
    ({"oneOf": [{"type": "integer"}, {"minimum": 5}]}, [1, 5.5], [6]),
    ({"not": {"type": "string"}}, [1], ["a"]),
    ({"if": {"minimum": 5}, "then": {"const": 7}, "else": {"const": 1}}, [7, 1], [6, 2]),
    ({"$defs": {"x/y": {"const": 1}}, "$ref": "#/$defs/x~1y"}, [1], [2]),
    ({"anyOf": [ITEM, {"type": "null"}]}, [None, {"next": {"next": None}}], [{}, {"next": 1}]),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(CASES)))
def test_who_is_an_instance(case: int) -> None:
    schema, fitting, others = CASES[case]
    assert [] == [value for value in fitting if not is_valid(schema, value, schema, Steps())]
    assert [] == [value for value in others if is_valid(schema, value, schema, Steps())]


@pytest.mark.parametrize(
    "schema",
    [5, {"type": "text"}, {"$ref": "#/nowhere"}, {"$ref": "https://x/y"}, {"minimum": "1"}],
)
def test_what_is_no_schema_is_said_to_be_none(schema: Any) -> None:
    with pytest.raises(Invalid):
        is_valid(schema, 1, schema, Steps())


def test_a_schema_can_only_take_so_much_work() -> None:
    endless = {"anyOf": [{"$ref": "#"}] * 3}
    with pytest.raises((Invalid, RecursionError)):
        is_valid(endless, 1, endless, Steps())
