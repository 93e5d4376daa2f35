import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.rehearsal.said.draft import text_of, tokens_of
from services.rehearsal.said.prose import (
    ECHO_CHARACTERS,
    MOST_TOKENS,
    NOTICE,
    REMEMBERED_TOKENS,
    SENTENCES,
    TYPICAL_TOKENS,
    compose,
    length_of,
    roll,
    shortened,
)

DICE = roll([b"user", b'"Why?"'], "0")
texts = st.text(st.characters(exclude_categories=["Cs"]))  # what UTF-8 can say


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("Hi", [b"Hi"]),
        ("the penstock", [b"the", b" pen", b"stoc", b"k"]),
        ("a  b", [b"a", b" ", b" b"]),
        ('say "no"', [b"say", b" ", rb"\"", b"no", rb"\""]),
        ("a\nb", [b"a", rb"\n", b"b"]),
        ("né 😀", [b"n", "é".encode(), b" ", "😀".encode()]),
    ],
)
def test_text_is_cut_into_tokens(text: str, tokens: list[bytes]) -> None:
    assert tokens == tokens_of(text)


@given(texts)
def test_tokens_join_to_the_text_and_have_at_most_four_bytes(text: str) -> None:
    tokens = tokens_of(text)
    assert text == text_of(tokens)
    for token in tokens:
        piece = text_of([token])  # each is whole characters, so each can be an event of its own
        assert 1 <= len(piece.encode()) <= 4


def test_an_answer_says_first_that_it_was_made_up() -> None:
    assert text_of(compose(DICE, echo="Why?", limit=500).tokens).startswith(f"{NOTICE} You said “Why?”. ")


def test_an_answer_ends_with_a_sentence_of_the_stock() -> None:
    choice = compose(DICE, limit=500)
    assert "stop" == choice.finish
    assert text_of(choice.tokens).endswith(SENTENCES)


def test_the_same_dice_make_the_same_answer() -> None:
    assert compose(DICE, limit=500) == compose(bytes(bytearray(DICE)), limit=500)
    others = {compose(roll([b"user", b'"Why?"'], str(seed)), limit=500).tokens for seed in range(50)}
    assert len(others) > 45


@pytest.mark.parametrize(("limit", "remembered"), [(REMEMBERED_TOKENS, True), (REMEMBERED_TOKENS + 1, False)])
def test_only_short_answers_are_remembered(limit: int, remembered: bool) -> None:
    first, second = (compose(DICE, limit=limit, endless=True) for _ in range(2))
    assert first == second
    assert remembered is (first is second)


def test_dice_depend_on_the_seed_and_on_each_part_of_the_prompt() -> None:
    rolls = [
        roll([b"ab", b"c"], "0"),
        roll([b"a", b"bc"], "0"),
        roll([b"abc"], "0"),
        roll([b"ab", b"c"], "1"),
    ]
    assert len(rolls) == len(set(rolls))
    assert rolls[0] == roll([b"ab", b"c"], "0")


@given(st.integers(1, 900), st.booleans())
def test_an_answer_is_cut_at_its_limit(limit: int, endless: bool) -> None:
    natural = compose(DICE, limit=10_000)
    cut = compose(DICE, limit=limit, endless=endless)
    if endless or len(natural.tokens) > limit:
        assert (limit, "length") == (len(cut.tokens), cut.finish)
    else:
        assert natural == cut


def test_an_endless_answer_has_every_sentence_before_any_comes_again() -> None:
    text = text_of(compose(DICE, limit=5000, endless=True).tokens)
    found = sorted((text.find(sentence), sentence) for sentence in SENTENCES)
    assert found[0][0] > 0
    _, last = found[-1]
    assert all(text.count(sentence, 0, found[-1][0] + len(last)) == 1 for sentence in SENTENCES)


def test_lengths_have_the_median_they_are_said_to_have() -> None:
    lengths = [length_of(roll([b"%d" % number], "0")) for number in range(2000)]
    assert pytest.approx(TYPICAL_TOKENS, rel=0.1) == statistics.median(lengths)
    assert max(lengths) <= MOST_TOKENS


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ((" rehearsal",), "This is a"),
        (("words", "rehearsal"), "This is a "),
        (("not there", ""), None),
        (("This",), ""),
    ],
)
def test_an_answer_ends_before_the_first_stop_it_holds(stop: tuple[str, ...], text: str | None) -> None:
    choice = compose(DICE, limit=30, stop=stop)
    if text is None:
        assert compose(DICE, limit=30) == choice
    else:
        assert (text, "stop") == (text_of(choice.tokens), choice.finish)
    assert choice.tokens, "an answer has a token, if an empty one"


@given(texts)
def test_what_is_repeated_is_short_and_on_one_line(said: str) -> None:
    short = shortened(said)
    assert len(short) <= ECHO_CHARACTERS
    assert short == " ".join(short.split())
    assert " ".join(said.split()).startswith(short.removesuffix("…"))


@given(texts)
def test_whatever_is_repeated_the_answer_is_valid_json(said: str) -> None:
    choice = compose(DICE, echo=shortened(said), limit=10_000)
    assert NOTICE in msgspec.json.decode(b'"%b"' % b"".join(choice.tokens))
