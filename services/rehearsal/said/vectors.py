"""Embeddings: unit vectors by hashed words, so texts that share words are alike."""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

PLACES = 4  # how many components a word counts in

_words = re.compile(r"\w+")


def features(text: str) -> Iterator[str]:
    """Its words, and each two that follow each other."""
    words = _words.findall(text.casefold())
    yield from words
    yield from (f"{one} {other}" for one, other in pairwise(words))


def vector(parts: Iterable[str], size: int, seed: str) -> list[float]:
    """A vector of length 1 with `size` components."""
    made = [0.0] * size
    for part in parts:
        _count(made, part, seed)
    length = math.hypot(*made)
    if not length:  # nothing was said, or all of it cancelled out
        made[0] = length = 1.0
    return [component / length for component in made]


def _count(made: list[float], part: str, seed: str) -> None:
    dice = hashlib.blake2b(part.encode("utf-8", "surrogatepass"), digest_size=16, key=seed.encode()).digest()
    for at in range(0, 4 * PLACES, 4):
        number = int.from_bytes(dice[at : at + 4], "big")
        made[(number >> 1) % len(made)] += 1.0 if number & 1 else -1.0
