import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.config import Candidate, Model
from functions.caching.key import NEUTRAL, fields_of, framing_of, key_of
from tests.support.wire import chat

SECRET = b"s" * 32
ASKED: dict[str, Any] = {
    "secret": SECRET,
    "tenant": "acme",
    "name": "gemma",
    "model": Model(backend="pool"),
    "framing": "whole",
    "fields": fields_of(chat(temperature=0)),
}


TWO = Model(backends=(Candidate(backend="pool"), Candidate(backend="spare")))


def key(**other: Any) -> str:
    return key_of(**(ASKED | other))


def of(body: bytes) -> str:
    return key(fields=fields_of(body))


def test_a_key_is_the_same_on_every_machine() -> None:
    assert 40 == len(key())
    assert key() == key()


@pytest.mark.parametrize(
    "other",
    [
        {"secret": b"t" * 32},
        {"tenant": "acm"},
        {"name": "gemm"},
        {"model": Model(backend="pol")},
        {"model": Model(backend="pool", served_as="gemma3:4b")},
        {"model": Model(backend="pool", version="2")},
        {"model": TWO},
        {"framing": "events"},
        {"tenant": "acmeg", "name": "emma"},
    ],
    ids=" ".join,
)
def test_another_of_anything_is_another_key(other: dict[str, Any]) -> None:
    assert key() != key(**other)


def test_which_of_its_backends_may_answer_counts_and_their_weights_do_not() -> None:
    other = Model(backends=(Candidate(backend="pool", weight=9), Candidate(backend="spare")))
    fewer = Model(backends=(Candidate(backend="pool"),))

    assert key(model=TWO) == key(model=other) != key(model=fewer)


def test_how_long_an_answer_is_kept_makes_no_difference() -> None:
    assert key() == key(model=Model(backend="pool", cache_ttl_s=5, context=9))


@pytest.mark.parametrize("field", sorted(NEUTRAL))
def test_a_field_that_changes_no_answer_makes_no_difference(field: str) -> None:
    assert of(chat()) == of(chat(**{field: "other"}))


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"g","seed":1,"messages":[]}',
        b'{"model":"g","seed":1.0,"messages":[]}',
        b'{"model":"g","seed":1,"messages":[ ]}',
        b'{"model":"g","seed":1,"messages":[],"top_k":null}',
        b'{"model":"g","Seed":1,"messages":[]}',
        b'{"model":"g","seed":[],"messages":1}',
    ],
)
def test_every_byte_of_the_rest_counts(body: bytes) -> None:
    assert of(b'{"model":"g","seed":2,"messages":[]}') != of(body)
    assert of(b'{"messages":[], "seed" : 2, "model":"h"}') == of(b'{"model":"g","seed":2,"messages":[]}')


values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4)
bodies = st.dictionaries(st.text().filter(lambda name: name not in NEUTRAL), values, max_size=4)


@given(bodies, bodies)
def test_only_the_same_fields_have_the_same_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = {name: json.dumps(value) for name, value in one.items()} == {
        name: json.dumps(value) for name, value in other.items()
    }
    assert same == (of(json.dumps(one).encode()) == of(json.dumps(other).encode()))


def test_framings() -> None:
    assert "whole" == framing_of(stream=False, wants_usage=True)
    assert "events" == framing_of(stream=True, wants_usage=False)
    assert "events and usage" == framing_of(stream=True, wants_usage=True)
