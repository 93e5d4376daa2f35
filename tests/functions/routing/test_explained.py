"""What callers are told of the choice."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.config import Backend, Candidate, Config, Model, Place
from functions.routing.explained import by, route_item

CONFIG = Config(
    backends={name: Backend(replicas=(f"http://{name}:1",)) for name in ("a", "b")},
    models={
        "one": Model(backend="a"),
        "two": Model(backends=(Candidate(backend="a"), Candidate(backend="b"))),
        "first": Model(backend="a", fallback=("one",)),
    },
)
ITEM = re.compile(r'"(?:[ !#-\[\]-~]|\\[\\"])*"(;by=[a-z]+)?')  # a String of RFC 9651, and a Token


@pytest.mark.parametrize(
    ("name", "told"),
    [("one", [""]), ("two", ["weight", "weight"]), ("first", ["", "fallback"])],
)
def test_why_it_was_that_place(name: str, told: list[str]) -> None:
    plan = CONFIG.plans[name]

    assert told == [by(plan, place) for place in plan.places]


@given(st.text(), st.text(), st.sampled_from(["", "weight", "fallback"]))
def test_any_name_can_be_told(model: str, backend: str, why: str) -> None:
    place = Place(model=model, backend=backend, served_as="")

    assert ITEM.fullmatch(route_item(place, why))  # type: ignore[arg-type]
