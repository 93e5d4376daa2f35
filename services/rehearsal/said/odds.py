"""How likely the engine says its tokens were: made up, always the same for the same token."""

import math
from collections.abc import Iterator
from zlib import crc32

from services.rehearsal.said.draft import Token

OTHERS = (
    *(b" the", b" a", b" of", b",", b".", b" and", b" in", b" to", b" it", b" is", b" was", b" on"),
    *(b" at", b" by", b" so", b" no", b" he", b" she", b" we", b"and", b"The"),
)


def logprob(token: Token) -> float:
    """The natural logarithm of its probability, which is from a half to one."""
    return round(math.log(0.5 + 0.5 * (crc32(token) % 1000 + 1) / 1001), 6)


def likeliest(token: Token, count: int) -> Iterator[tuple[Token, float]]:
    """The `count` likeliest tokens in its place, beginning with itself, and their logarithms."""
    left = 1 - math.exp(logprob(token))
    first = crc32(token) % len(OTHERS)
    others = (other for other in (*OTHERS[first:], *OTHERS[:first]) if other != token)
    for number, one in zip(range(count), (token, *others), strict=False):
        yield one, round(math.log(left / 2**number), 6) if number else logprob(token)
