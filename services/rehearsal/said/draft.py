"""What will be said to one request, as data: tokens, and what they are pieces of."""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from events.words import Record

Finish = Literal["stop", "length", "tool_calls"]
Token = bytes  # a piece of text as it stands inside a JSON string: pieces join to the JSON of the whole

_pieces = re.compile(rb" [^\\ \x80-\xff]{0,3}|[^\\ \x80-\xff]{1,4}|\\u....|\\.|[\xc0-\xff][\x80-\xbf]+")


class ToolCall(Record):
    """One call of a tool. Its name is the choice's token `at`; its arguments are those after it."""

    id: str
    name: str
    at: int


class Choice(Record):
    """One made-up answer: text, or the calls of tools. Only a completion of no tokens has none."""

    tokens: tuple[Token, ...]
    finish: Finish
    calls: tuple[ToolCall, ...] = ()

    def arguments(self, number: int) -> tuple[Token, ...]:
        """The pieces of a call's arguments."""
        following = self.calls[number + 1].at if number + 1 < len(self.calls) else len(self.tokens)
        return self.tokens[self.calls[number].at + 1 : following]


class Draft(Record):
    """All that will be said to one request."""

    choices: list[Choice]
    total: int  # completion tokens of all choices
    prompt_tokens: int
    cached_tokens: int = 0


def drafted(choices: list[Choice], *, prompt_tokens: int, cached_tokens: int = 0) -> Draft:
    """A draft of these choices. Of the prompt, never all counts as cached."""
    return Draft(
        choices=choices,
        total=sum(len(choice.tokens) for choice in choices),
        prompt_tokens=prompt_tokens,
        cached_tokens=min(cached_tokens, prompt_tokens - 1),
    )


def tokens_of(text: str) -> list[Token]:
    """Cuts a text: a space and up to three plain characters, up to four of those, or one other character.

    Plain is ASCII that JSON does not escape. So no token has more than four bytes of UTF-8, and a
    word begins a token.
    """
    return _pieces.findall(msgspec.json.encode(text)[1:-1])


def text_of(tokens: Sequence[Token]) -> str:
    """The text these tokens are."""
    return msgspec.json.decode(b'"%b"' % b"".join(tokens), type=str)


def limited(choice: Choice, limit: int) -> Choice:
    """The choice, or its first `limit` tokens; calls that are not begun by then are not made."""
    if len(choice.tokens) <= limit:
        return choice
    calls = tuple(call for call in choice.calls if call.at < limit)
    return Choice(tokens=choice.tokens[:limit], finish="length", calls=calls)


def stopped(choice: Choice, stop: Sequence[str]) -> Choice:
    """The choice, or what comes before the first of these texts it holds."""
    text = text_of(choice.tokens)
    found = [at for at in (text.find(mark) for mark in stop if mark) if at >= 0]
    if not found:
        return choice
    return Choice(tokens=tuple(tokens_of(text[: min(found)])) or (b"",), finish="stop")
