import json
import re
from datetime import datetime
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.words import Invalid
from services.rehearsal.said.prose import roll
from services.rehearsal.said.schema import Steps, is_valid
from services.rehearsal.said.schema_instance import instance

NODE = {
    "type": "object",
    "properties": {
        "value": {"type": "number"},
        "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
    },
    "required": ["value", "next", "children"],
    "additionalProperties": False,
}
EXPRESSION = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/e"}, "right": {"$ref": "#/$defs/e"}},
            "required": ["left", "right"],
            "additionalProperties": False,
        },
        {"type": "object", "properties": {"is": {"type": "integer"}}, "required": ["is"]},
    ]
}  # fmt: skip
POSSIBLE: list[Any] = [
    True,
    {},
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]},
    {"type": "object", "required": ["unheard"]},
    {"type": "object", "required": ["n"], "additionalProperties": {"type": "integer"}},
    {"type": "object", "additionalProperties": {"enum": [1, 2]}, "minProperties": 3},
    {"type": "object", "propertyNames": {"pattern": "^[a-z]{3}$"}, "minProperties": 4},
    {"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}, "maxProperties": 1},
    {"enum": ["a", "b"]},
    {"const": {"deep": [None]}},
    {"type": "string", "enum": [1, "one"]},
    {"type": "integer", "minimum": 3, "maximum": 3},
    {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    {"type": "integer", "minimum": 2.5, "maximum": 3.5},
    {"type": "integer", "multipleOf": 7, "minimum": 100},
    {"type": "integer", "multipleOf": 1.5, "minimum": 1},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "number", "multipleOf": 0.01, "minimum": 0.05, "maximum": 0.06},
    {"type": "number", "maximum": -1000},
    {"type": "number", "minimum": 0.1, "maximum": 0.1},
    {"minimum": 5},
    {"type": ["null", "integer"]},
    {"type": "string", "minLength": 200},
    {"type": "string", "maxLength": 0},
    {"type": "string", "minLength": 5, "maxLength": 5},
    {"type": "string", "pattern": "^[A-Z]{2}[0-9]+$", "minLength": 20, "maxLength": 30},
    {"type": "string", "pattern": "[0-9]", "minLength": 12},
    {"type": "array"},
    {"type": "array", "items": {"type": "integer"}, "minItems": 5},
    {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "items": {"type": "string"}, "maxItems": 0},
    {"type": "array", "prefixItems": [{"const": "x"}, {"type": "boolean"}], "items": False, "minItems": 2},
    {"type": "array", "contains": {"const": 5}, "minContains": 2},
    {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 2}]},
    {"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"],
     "oneOf": [{"properties": {"kind": {"const": "a"}}}, {"properties": {"kind": {"const": "b"}}}]},
    {"allOf": [{"$ref": "#/$defs/a"}, {"properties": {"b": {"const": 5}}, "required": ["b"]}],
     "$defs": {"a": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}},
    {"allOf": [{"type": ["integer", "string"]}, {"type": "number"}]},
    {"not": {"type": "string"}},
    {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"],
     "if": {"properties": {"n": {"minimum": 50}}}, "then": {"required": ["big"]},
     "else": {"required": ["small"]}},
    {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
    {"$defs": {"e": EXPRESSION}, "$ref": "#/$defs/e"},
    {"type": "object", "properties": {"again": {"$ref": "#"}}},
    {"definitions": {"x": {"enum": [3]}}, "type": "array", "items": {"$ref": "#/definitions/x"}},
]  # fmt: skip
IMPOSSIBLE: list[Any] = [
    False,
    {"$ref": "#"},
    {"type": 7},
    {"type": "object", "required": ["x"], "additionalProperties": False},
    {"type": "integer", "minimum": 2, "maximum": 1},
    {"allOf": [{"type": "string"}, {"type": "integer"}]},
    {"type": "string", "minLength": 10**9},
    {"type": "array", "minItems": 10**9},
    {"type": "object", "minProperties": 10**9},
    {"type": "string", "pattern": r"(?=a)"},
    {"type": "string", "pattern": "((a{1000}){1000}){1000}"},
    {"type": "array", "items": {"enum": [1]}, "minItems": 2, "uniqueItems": True},
    {"enum": []},
    {"anyOf": []},
    {"minItems": "two", "type": "array"},
    {"properties": [], "type": "object"},
    {"required": ["n"], "type": "object", "properties": {"n": {"$ref": "#"}}},
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(POSSIBLE)))
def test_what_is_made_up_is_an_instance(case: int) -> None:
    schema = POSSIBLE[case]
    for seed in range(12):
        made = instance(schema, roll([], str(seed)))
        assert is_valid(schema, made, schema, Steps()), made
        assert made == json.loads(json.dumps(made))
        assert made == instance(schema, roll([], str(seed)))


@pytest.mark.parametrize("case", range(len(IMPOSSIBLE)))
def test_where_there_is_none_that_is_said(case: int) -> None:
    with pytest.raises(Invalid):
        instance(IMPOSSIBLE[case], bytes(64))


def test_a_schema_nested_without_measure_is_refused() -> None:
    deep: Any = {}
    for _ in range(3000):
        deep = {"type": "array", "items": deep, "minItems": 1}
    with pytest.raises(Invalid):
        instance(deep, bytes(64))


def test_all_that_may_be_said_is_said_where_nothing_forbids_it() -> None:
    schema = {"properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "null"}}}}
    assert {"a", "b"} == set(instance(schema, bytes(64)))


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("date-time", datetime.fromisoformat),
        ("date", lambda text: datetime.strptime(text, "%Y-%m-%d")),
        ("time", lambda text: re.fullmatch(r"\d\d:\d\d:\d\dZ", text)),
        ("duration", lambda text: re.fullmatch(r"PT\d+M", text)),
        ("uuid", UUID),
        ("email", lambda text: re.fullmatch(r"\w+@example\.com", text)),
        ("uri", lambda text: text.startswith("https://example.com/")),
        ("hostname", lambda text: text.endswith(".example.com")),
        ("ipv4", ip_address),
        ("ipv6", ip_address),
        ("unheard-of", lambda text: text.startswith("made-up")),
    ],
)
def test_formats_are_kept(name: str, check: Any) -> None:
    for seed in range(20):
        assert check(instance({"type": "string", "format": name}, bytes([seed]))) is not None


small = st.integers(-5, 5)


def _whole(low: int, more: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": low + abs(more)}


def _real(low: int, more: int) -> dict[str, Any]:
    return {"type": "number", "exclusiveMinimum": low, "maximum": low + 1 + abs(more)}


def _text(least: int, more: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 8 * least, "maxLength": 8 * least + more}


def _object(told: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": told, "required": list(told), "additionalProperties": False}


def _list(told: Any, least: int) -> dict[str, Any]:
    return {"type": "array", "items": told, "minItems": least}


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(_object, st.dictionaries(st.text("abc/~ü", max_size=3), inner, max_size=3)),
        st.builds(_list, inner, st.integers(0, 3)),
        st.builds(lambda told: {"anyOf": told}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda told: {"$defs": {"x": told}, "allOf": [told]}, inner),
    )


scalars = st.one_of(
    st.builds(_whole, small, small),
    st.builds(_real, small, small),
    st.builds(_text, st.integers(0, 5), st.integers(0, 9)),
    st.builds(lambda values: {"enum": values}, st.lists(small, min_size=1)),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {}, True]),
)


@given(st.recursive(scalars, _nested, max_leaves=8), st.binary(min_size=4, max_size=4))
def test_simple_schemas_have_an_instance(schema: Any, dice: bytes) -> None:
    assert is_valid(schema, instance(schema, dice), schema, Steps())
