"""What the rehearsal engine says: that it rehearses, what it was asked, and some prose chosen by dice."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from statistics import NormalDist

from services.rehearsal.said.draft import Choice, Finish, Token, stopped, tokens_of

NOTICE = "This is a rehearsal: the words of this answer were made up, not written by a model."
TYPICAL_TOKENS, SPREAD, MOST_TOKENS = 90, 0.6, 400  # lengths are log-normal: median, sigma, cut
ECHO_CHARACTERS = 48
REMEMBERED_TOKENS = 512  # longer answers are made up anew each time, or they would fill the memory
SENTENCES = (
    "A penstock is only a pipe with a gate, yet a whole valley can be lit by what passes through it.",
    "Snow that fell in January arrives in June, a little later than promised and none the worse for it.",
    "The keeper opened the sluice by the width of a hand and waited for the sound to change.",
    "Below the dam the river forgets its errand and wanders among the alders.",
    "Every turbine hums a note of its own, and the old hands can name them in the dark.",
    "It rained on the upper lake, so nobody in the village was in a hurry.",
    "The gauge had not moved since noon, which was how one knew that all was well.",
    "Someone had painted the valves blue, and it made the whole gallery look like summer.",
    "Water is patient; it is the pipe that has to be strong.",
    "The night shift played cards and listened with half an ear to the bearings.",
    "A heron stood at the tail race, as it did every evening, and took what came.",
    "The map showed a spring, and there was one, just where the path turned.",
    "Nothing was lost on the way down, said the ledger, and nothing was counted twice.",
    "They measured the flow in buckets first and in megawatts afterwards.",
    "When the gate closes gently, the hammer stays asleep.",
    "The apprentice asked how much water there was, and was told to ask the clouds.",
    "Moss had grown over the builder's name, but the wall still leaned the right way.",
    "In the morning the mist lay in the gorge like milk in a bowl.",
    "The telephone rang twice; it was only the weather, with good news.",
    "A bridge of two planks led to the trash rack, and both were dry.",
    "The surge shaft breathed in and out, slowly, like something large and kind.",
    "Down in the town a lamp went on, and then another, and then all of them.",
    "Nobody remembers who planted the apple tree by the powerhouse, but everybody eats the apples.",
    "There is a right speed for everything that turns, and it is seldom the highest.",
    "The inspector walked the whole pipe with a small hammer and a good ear.",
    "By the weir the children raced boats of bark, and the slow ones won.",
    "A spare gasket hung on the nail, next to last year's calendar.",
    "The engineer wrote the number down, crossed it out, and wrote it down again: it was right.",
    "Swallows nested above the control room, where it is warm and nobody shouts.",
    "What the lake gives in spring it keeps a note of until autumn.",
    "The lock keeper's dog knew every boat by its bell.",
    "And so the water went on, as water does, a little wiser and a good deal lower.",
)

_normal = NormalDist()
_notice = tokens_of(NOTICE)
_sentences = tuple(tuple(tokens_of(" " + sentence)) for sentence in SENTENCES)


def roll(prompt: Iterable[bytes], seed: str) -> bytes:
    """64 bytes that look random, and are always the same for the same prompt and seed."""
    parts = [b"%d:%b" % (len(part), part) for part in prompt]
    return hashlib.blake2b(b"".join([seed.encode(), *parts])).digest()


def compose(
    dice: bytes,
    *,
    echo: str = "",
    by: str = "You",
    limit: int,
    endless: bool = False,
    stop: tuple[str, ...] = (),
) -> Choice:
    """Makes up the answer these dice stand for; it repeats `echo`, said by `by`.

    It is cut at `limit` tokens, or before the first of the `stop` texts it holds. An `endless` one
    never ends by itself.
    """
    long = endless and limit > REMEMBERED_TOKENS
    choice = (_made_up if long else _remembered)(dice, echo, by, limit, endless)
    return stopped(choice, stop) if stop else choice


def _made_up(dice: bytes, echo: str, by: str, limit: int, endless: bool) -> Choice:
    tokens = [*_notice, *_echoed(echo, by)]
    wanted = limit + 1 if endless else min(length_of(dice), limit + 1)
    for sentence in _sentences_by(dice):
        if len(tokens) >= wanted:
            break
        tokens.extend(sentence)
    finish: Finish = "stop" if len(tokens) <= limit else "length"
    return Choice(tokens=tuple(tokens[:limit]), finish=finish)


_remembered = lru_cache(maxsize=1024)(_made_up)  # load tests ask the same again and again


def length_of(dice: bytes) -> int:
    """How many tokens an answer is to have, at least: it ends with its sentence."""
    chance = (int.from_bytes(dice[:4], "big") + 0.5) / 2**32
    return min(MOST_TOKENS, round(TYPICAL_TOKENS * math.exp(SPREAD * _normal.inv_cdf(chance))))


def _sentences_by(dice: bytes) -> Iterator[tuple[Token, ...]]:
    """Without end; all of them once before any comes again, as any odd stride meets all of a power of two."""
    at, stride = dice[4], dice[5] | 1
    while True:
        yield _sentences[at % len(_sentences)]
        at += stride


def shortened(said: str, most: int = ECHO_CHARACTERS) -> str:
    """Its beginning, on one line."""
    short = " ".join(said[: 4 * most].split())
    return short if len(short) <= most else short[: most - 1].rstrip() + "…"


def _echoed(said: str, by: str) -> list[Token]:
    return tokens_of(f" {by} said “{said}”.") if said else []
