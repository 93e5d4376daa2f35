import math

import pytest

from services.rehearsal.said.vectors import features, vector


def of(text: str, size: int = 64, seed: str = "0") -> list[float]:
    return vector(features(text), size, seed)


def alike(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(of(one, 768), of(other, 768), strict=True))


@pytest.mark.parametrize("text", ["", "!?", "word", "the river goes down " * 200, "日本語 😀"])
@pytest.mark.parametrize("size", [1, 2, 64, 768])
def test_vectors_have_length_one(text: str, size: int) -> None:
    made = of(text, size)
    assert size == len(made)
    assert pytest.approx(1.0) == math.hypot(*made)


def test_the_same_text_has_the_same_vector_by_seed() -> None:
    assert of("a river") == of("a river") == of("A  River!")
    assert of("a river") != of("a river", seed="1")
    assert of("a river runs") != of("runs a river")


def test_texts_that_share_words_are_alike() -> None:
    asked = "how high is the dam"
    assert alike(asked, "the dam is 90 metres high") > 0.3 > alike(asked, "apples grow on trees")
