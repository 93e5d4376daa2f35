"""Regular expressions of JSON Schema: text that matches one, and whether a text does.

Lookaround, backreferences, word boundaries and properties are not known. Matching keeps a set of places
instead of going back, so no expression takes more than a polynomial of its time.
"""

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from events.words import Invalid

MOST_TIMES = 1000
MOST_WORK = 100_000  # places looked at for one text
PLAIN = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_-. @:/+#,;!?'()%&=*$~"
DIGITS = ((48, 57),)
WORD = ((48, 57), (65, 90), (95, 95), (97, 122))
SPACE = ((9, 13), (32, 32), (160, 160))
CLASSES = {"d": DIGITS, "w": WORD, "s": SPACE}
CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
LAST = 0x10FFFF

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Chars:
    """One character in (or, if `but`, out of) these ranges of code points."""

    ranges: Ranges
    but: bool = False

    def holds(self, char: str) -> bool:
        """Whether that is one of them."""
        code = ord(char)
        return any(low <= code <= high for low, high in self.ranges) is not self.but


@dataclass(frozen=True, slots=True)
class Edge:
    """The beginning of the text, or its end."""

    end: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One after the other."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of them."""

    options: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Times:
    """The same from `low` to `high` times; None: as often as one likes."""

    node: "Node"
    low: int
    high: int | None


Node = Chars | Edge | Row | Either | Times


@lru_cache(maxsize=256)
def parse(pattern: str) -> Node:
    """Reads an expression. Raises `Invalid` where it is none, or uses what is not known here."""
    parser = _Parser(pattern)
    node = parser.either()
    if parser.at < len(pattern):
        raise parser.wrong("a closing parenthesis without its opening one")
    return node


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self.at = 0

    def wrong(self, what: str) -> Invalid:
        """The error."""
        return Invalid(
            f"The pattern {self._pattern[:80]!r} has {what} at {self.at}; this engine cannot use it."
        )

    def _next(self) -> str:
        return self._pattern[self.at : self.at + 1]

    def _take(self) -> str:
        char = self._next()
        if not char:
            raise self.wrong("an end too early")
        self.at += 1
        return char

    def _took(self, text: str) -> bool:
        there = self._pattern.startswith(text, self.at)
        self.at += len(text) if there else 0
        return there

    def either(self) -> Node:
        options = [self._row()]
        while self._took("|"):
            options.append(self._row())
        return options[0] if len(options) == 1 else Either(tuple(options))

    def _row(self) -> Node:
        parts: list[Node] = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._times(self._one()))
        return Row(tuple(parts))

    def _one(self) -> Node:
        char = self._take()
        if char in "^$":
            return Edge(char == "$")
        if char == ".":
            return Chars(((10, 10), (13, 13)), but=True)
        if char == "[":
            return self._class()
        if char == "(":
            return self._group()
        if char == "\\":
            return self._escaped()
        if char in "*+?":
            raise self.wrong("nothing to repeat")
        return _only(char)

    def _group(self) -> Node:
        if self._took("?") and not self._took(":"):
            if self._next() in ("=", "!") or self._pattern[self.at : self.at + 2] in ("<=", "<!"):
                raise self.wrong("a look ahead or behind")
            if not (self._took("P<") or self._took("<")):
                raise self.wrong("a group of a kind that is not known")
            while self._take() != ">":
                pass
        node = self.either()
        if not self._took(")"):
            raise self.wrong("a parenthesis that is not closed")
        return node

    def _escaped(self) -> Chars:
        char = self._take()
        if char.lower() in CLASSES:
            return Chars(CLASSES[char.lower()], but=char.isupper())
        return _only(self._literal(char))

    def _literal(self, char: str) -> str:
        """What a backslash and this character stand for."""
        if char in CONTROLS:
            return CONTROLS[char]
        if char in "xu":
            size = 2 if char == "x" else 4
            digits = self._pattern[self.at : self.at + size]
            try:
                code = int(digits, 16)
            except ValueError:
                raise self.wrong("an escape that is not whole") from None
            self.at += size
            return chr(code)
        if char.isalnum():
            raise self.wrong(f"\\{char}, which is not known")
        return char

    def _class(self) -> Chars:
        but = self._took("^")
        ranges: list[tuple[int, int]] = []
        while not self._took("]"):
            first = self._member(ranges)
            if first is None:
                continue
            last = first
            if self._next() == "-" and self._pattern[self.at + 1 : self.at + 2] not in ("]", ""):
                self._take()
                last = self._member(ranges) or first
            if last < first:
                raise self.wrong("a range that ends before it begins")
            ranges.append((ord(first), ord(last)))
        return Chars(tuple(ranges), but)

    def _member(self, ranges: list[tuple[int, int]]) -> str | None:
        """A character of a class; None where a class like \\d was added instead."""
        char = self._take()
        if char != "\\":
            return char
        char = self._take()
        if char in CLASSES:
            ranges.extend(CLASSES[char])
            return None
        if char.lower() in CLASSES:
            ranges.extend(_others(CLASSES[char.lower()]))
            return None
        return "\b" if char == "b" else self._literal(char)

    def _times(self, node: Node) -> Node:
        low, high = self._bounds()
        if (low, high) == (1, 1):
            return node
        self._took("?")  # whether it is greedy does not matter here
        if low > MOST_TIMES or (high is not None and high < low):
            raise self.wrong("a repetition that cannot be")
        return self._times(Times(node, low, high))

    def _bounds(self) -> tuple[int, int | None]:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._took(sign):
                return bounds
        if self._next() != "{":
            return 1, 1
        inner = self._pattern[self.at + 1 :].partition("}")[0]
        low, comma, high = inner.partition(",")
        if (
            not self._pattern.startswith("}", self.at + 1 + len(inner))
            or not low.isdecimal()
            or (high and not high.isdecimal())
        ):
            raise self.wrong("a brace that is no repetition")
        self.at += len(inner) + 2
        most = (int(high) if high else None) if comma else int(low)
        return int(low), most


def _only(char: str) -> Chars:
    return Chars(((ord(char), ord(char)),))


def _others(ranges: Ranges) -> Ranges:
    """All that is not in these ranges, which are in order."""
    starts = [0, *(high + 1 for _, high in ranges)]
    ends = [*(low - 1 for low, _ in ranges), LAST]
    return tuple((start, end) for start, end in zip(starts, ends, strict=True) if start <= end)


def example(node: Node, dice: Random, extra: int = 1) -> str:
    """A text that matches where its edges are; repetitions have up to `extra` more than their least."""
    match node:
        case Chars():
            return _char(node, dice)
        case Edge():
            return ""
        case Row(parts):
            return "".join(example(part, dice, extra) for part in parts)
        case Either(options):
            return example(dice.choice(options), dice, extra)
        case Times(inner, low, high):
            most = low + extra if high is None else min(high, low + extra)
            return "".join(example(inner, dice, extra) for _ in range(most))


def longest(node: Node, extra: int) -> int:
    """How many characters such an example may have."""
    match node:
        case Chars():
            return 1
        case Edge():
            return 0
        case Row(parts):
            return sum(longest(part, extra) for part in parts)
        case Either(options):
            return max(longest(option, extra) for option in options)
        case Times(inner, low, high):
            return longest(inner, extra) * (low + extra if high is None else min(high, low + extra))


def _char(chars: Chars, dice: Random) -> str:
    usual = _usual(chars)
    if usual:
        return dice.choice(usual)
    if chars.but or not chars.ranges:
        raise Invalid("A pattern has a class that no usual character is in; this engine cannot use it.")
    return chr(chars.ranges[0][0])


@lru_cache(maxsize=256)
def _usual(chars: Chars) -> str:
    """Those of its characters that are on every keyboard, lower case and digits first."""
    return "".join(char for char in PLAIN if chars.holds(char))[:36]


def matches(node: Node, text: str) -> bool:
    """Whether it is found anywhere in the text. Raises `Invalid` where that takes long."""
    return bool(_Match(text).ends(node, frozenset(range(len(text) + 1))))


class _Match:
    def __init__(self, text: str) -> None:
        self._text = text
        self._left = MOST_WORK

    def ends(self, node: Node, starts: frozenset[int]) -> frozenset[int]:
        """Where a match may end that begins at one of `starts`."""
        self._left -= len(starts) + 1
        if self._left < 0:
            raise Invalid("A pattern takes too much work; this engine knows simpler ones.")
        match node:
            case Chars():
                text = self._text
                return frozenset(at + 1 for at in starts if at < len(text) and node.holds(text[at]))
            case Edge(end):
                return starts & {len(self._text) if end else 0}
            case Row(parts):
                for part in parts:
                    starts = self.ends(part, starts)
                return starts
            case Either(options):
                return frozenset().union(*(self.ends(option, starts) for option in options))
            case Times(inner, low, high):
                return self._repeated(inner, starts, low, high)

    def _repeated(self, node: Node, starts: frozenset[int], low: int, high: int | None) -> frozenset[int]:
        for _ in range(low):
            before, starts = starts, self.ends(node, starts)
            if starts == before:
                break
        reached = fresh = starts
        rounds = len(self._text) + 1 if high is None else min(high - low, len(self._text) + 1)
        for _ in range(rounds):
            if not fresh:
                break
            fresh = self.ends(node, fresh) - reached
            reached |= fresh
        return reached
