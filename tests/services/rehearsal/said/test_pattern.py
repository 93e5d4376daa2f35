import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.words import Invalid
from services.rehearsal.said.pattern import example, longest, matches, parse

PATTERNS = [
    "^abc$",
    "^[A-Z]{3}-[0-9]{4}$",
    r"^\d{3}\.\d+(px|em)?$",
    "^(a|b|cd)*e$",
    r"^[\w.+-]+@[a-z0-9-]+\.[a-z]{2,}$",
    r"^[^\s,]+$",
    "a",
    "^$",
    "",
    r"^#(?:[0-9a-fA-F]{3}){1,2}$",
    r"^(?P<year>\d{4})-(?<month>0[1-9]|1[0-2])$".replace("?<month>", "?P<month>"),
    r"^\x41\u0042\t[\d\-x]$",
    "^a+?b*?c??$",
    r"^[\]^-]{2}$",
    r"^[\D]$",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("extra", [0, 1, 5])
def test_an_example_matches(pattern: str, extra: int) -> None:
    node = parse(pattern)
    for seed in range(20):
        text = example(node, Random(seed), extra)
        assert re.search(pattern, text), text
        assert matches(node, text)
        assert len(text) <= longest(node, extra)


@given(st.sampled_from(PATTERNS), st.text("abcde019-.@#AB\t x", max_size=12))
def test_matching_agrees_with_the_standard_library(pattern: str, text: str) -> None:
    assert bool(re.search(pattern, text)) is matches(parse(pattern), text)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?=a)b", r"(?<!a)b", r"(a)\1", r"\bword", r"\p{L}", "(", ")", "[a", "[z-a]", "*a", "a{2",
        "a{3,1}", "a{9999}", "(?#x)", r"\xZZ", "\\",
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused(pattern: str) -> None:
    with pytest.raises(Invalid, match="pattern"):
        parse(pattern)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", "(a{0,900}){0,900}$", "((a?){1000}){1000}b", "(.*)*x"]
)
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    matches(parse(pattern), "a" * 60 + "!")


def test_a_pattern_that_would_take_long_is_refused() -> None:
    with pytest.raises(Invalid, match="too much work"):
        matches(parse("((a{1000}){3}b?){3}"), "a" * 10_000)
