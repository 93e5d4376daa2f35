"""Which answers may be given again, and how long: rules over what was asked and what was answered."""

from collections.abc import Iterator
from datetime import timedelta

import msgspec

from events.config import Model
from functions.caching.key import Body

LARGEST = 512 * 1024  # bytes of an answer: sealed it has to fit an event and a document
TTL_S = 3600
ABSENT = (msgspec.Raw(b"null"), msgspec.Raw(b""))
RESULTS = frozenset({"tool", "function"})  # the roles that bring a tool's result


class _Message(msgspec.Struct):
    role: str = ""
    tool_calls: msgspec.Raw = msgspec.Raw(b"")
    function_call: msgspec.Raw = msgspec.Raw(b"")

    @property
    def is_of_tools(self) -> bool:
        return self.role in RESULTS or _calls(self.tool_calls) or _calls(self.function_call)


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None
    message: _Message | None = None
    delta: _Message | None = None

    @property
    def is_of_tools(self) -> bool:
        return any(part is not None and part.is_of_tools for part in (self.message, self.delta))


class _Part(msgspec.Struct):
    choices: list[_Choice] = []
    error: msgspec.Raw = msgspec.Raw(b"")


_messages = msgspec.json.Decoder(list[_Message])
_part = msgspec.json.Decoder(_Part)


def ttl_of(model: Model) -> timedelta:
    """How long an answer of a model may be given again."""
    return timedelta(seconds=TTL_S if model.cache_ttl_s is None else model.cache_ttl_s)


def may_ask(fields: Body, *, wished: bool) -> bool:
    """Whether the answer to this request may come from the cache, and go there: it would be the same again
    (temperature 0, or a seed), or its caller `wished` it. What tools gave is of its moment.
    """
    if not (wished or _is_zero(fields.get("temperature")) or fields.get("seed", ABSENT[0]) not in ABSENT):
        return False
    try:
        messages = _messages.decode(fields["messages"])
    except (KeyError, ValueError, RecursionError):
        return False
    return not any(message.is_of_tools for message in messages)


def may_keep(body: bytes, *, stream: bool) -> bool:
    """Whether an answer (of status 200) is whole: every choice came to its own end, and none calls a tool."""
    if len(body) > LARGEST:
        return False
    ends: dict[int, str | None] = {}
    try:
        for part in _parts(body, stream=stream):
            if part.error not in ABSENT:
                return False
            for choice in part.choices:
                ends[choice.index] = choice.finish_reason or ends.get(choice.index)
                if choice.is_of_tools:
                    return False
    except (ValueError, RecursionError):
        return False
    return bool(ends) and set(ends.values()) == {"stop"}


def _parts(body: bytes, *, stream: bool) -> Iterator[_Part]:
    if not stream:
        yield _part.decode(body)
        return
    for line in body.splitlines():
        if line.startswith(b"data:") and (said := line[5:].strip()) != b"[DONE]":
            yield _part.decode(said)


def _is_zero(raw: msgspec.Raw | None) -> bool:
    if raw is None or raw in ABSENT:
        return False
    try:
        return msgspec.json.decode(raw, type=float) == 0
    except ValueError:
        return False


def _calls(raw: msgspec.Raw) -> bool:
    return raw not in (*ABSENT, msgspec.Raw(b"[]"))
