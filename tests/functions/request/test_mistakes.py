"""What callers are told of JSON that cannot be taken."""

from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.words import Problem
from functions.request.mistakes import QUOTED, UNREADABLE, clipped, problem_of, quoted


class Inner(msgspec.Struct):
    role: str
    size: Annotated[int, msgspec.Meta(ge=0)] = 0
    lane: Literal["a", "b"] = "a"


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parts: list[Inner] = []
    inner: Inner | None = None


def problem(body: bytes) -> Problem:
    with pytest.raises(UNREADABLE) as raised:
        msgspec.json.decode(body, type=Outer)
    return problem_of(raised.value)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"", "invalid_json", None),
        (b"hello", "invalid_json", None),
        (b'{"name":"\xff"}', "invalid_json", None),
        (b"[]", "invalid_type", None),
        (b'{"name":5}', "invalid_type", "name"),
        (b"{}", "missing_required_parameter", "name"),
        (b'{"name":"x","parts":[{"role":""},{}]}', "missing_required_parameter", "parts[1].role"),
        (b'{"name":"x","inner":{"role":null}}', "invalid_type", "inner.role"),
        (b'{"name":"x","colour":1}', "unknown_parameter", "colour"),
        (b'{"name":"x","inner":{"role":"","size":-1}}', "invalid_value", "inner.size"),
        (b'{"name":"x","inner":{"role":"","lane":"c"}}', "invalid_value", "inner.lane"),
    ],
)
def test_a_mistake_has_openais_code_and_the_path_to_it(body: bytes, code: str, param: str | None) -> None:
    told = problem(body)

    assert (code, param) == (told.code, told.param)
    assert "invalid_request_error" == told.type
    assert told.message.endswith(".")
    assert param is None or param in told.message


def test_depth_is_told() -> None:
    assert "nested too deeply" in problem_of(RecursionError()).message


@given(st.text(max_size=300))
def test_no_name_of_a_field_makes_a_long_or_a_broken_message(name: str) -> None:
    told = problem(msgspec.json.encode({"name": "x", f"{name}?": 1}))

    assert "unknown_parameter" == told.code
    assert len(told.message) < 3 * QUOTED


@pytest.mark.parametrize(
    ("said", "told"),
    [("gemma", "'gemma'"), (1.5, "1.5"), ("it's\n", '"it\'s\\n"'), ("", "''")],
    ids=["text", "number", "signs", "nothing"],
)
def test_what_is_short_is_quoted_whole(said: str | float, told: str) -> None:
    assert told == quoted(said)


@pytest.mark.parametrize("said", ["x" * 10**6, 10**400], ids=["text", "number"])
def test_what_is_long_is_quoted_to_its_beginning(said: str | float) -> None:
    assert len(quoted(said)) <= QUOTED + 3
    assert "…" in quoted(said)


def test_a_text_of_just_the_limit_is_not_clipped() -> None:
    assert "x" * 10 == clipped("x" * 10, 10)
    assert "x" * 10 + "…" == clipped("x" * 11, 10)
