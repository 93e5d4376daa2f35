"""Server-sent events as engines send them: whole events out of arbitrary pieces, and what they tell."""

import re
from typing import Annotated

import msgspec

from events.words import Usage
from functions.request.admission import BYTES_PER_TOKEN

DONE_DATA = b"[DONE]"
TELLS_USAGE = re.compile(rb'"usage"\s*:\s*\{')  # many engines say "usage": null in every other event
DONE_EVENT = b"data: [DONE]\n\n"
MAX_EVENT = 8 * 2**20
MARKS = (b"\n\n", b"\r\n\r\n", b"\r\r")
LONGEST_MARK = 4
_END = re.compile(rb"(?:\n\n|\r\n\r\n|\r\r)")


class EventBuffer:
    """Cuts a byte stream at event boundaries (a blank line); keeps the unfinished rest."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def rest(self) -> bytes:
        """What is not whole yet."""
        return bytes(self._rest)

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self._rest)

    def feed(self, data: bytes) -> bytes:
        """The whole events so far, exactly as they came."""
        rest = self._rest
        if not rest and data.endswith(b"\n\n"):  # nearly always
            return data
        seen = max(0, len(rest) - LONGEST_MARK + 1)
        rest += data
        end = _last_boundary(rest, seen)
        events = bytes(rest[:end])
        del rest[:end]
        if len(rest) > MAX_EVENT:
            raise ValueError(f"an event is longer than {MAX_EVENT} bytes")
        return events


def _last_boundary(data: bytearray, start: int) -> int:
    """Where the last event ends of which a part is behind `start`."""
    ends = [found + len(mark) for mark in MARKS if (found := data.rfind(mark, start)) >= 0]
    return max(ends, default=0)


def says_done(events: bytes) -> bool:
    """Whether one of these whole events is a stream's last; a text that speaks of it is not."""
    return DONE_DATA in events and any(
        line[5:].strip() == DONE_DATA for line in events.splitlines() if line.startswith(b"data:")
    )


def split(events: bytes) -> list[bytes]:
    """Single events, each with its boundary."""
    found, start = [], 0
    for end in _END.finditer(events):
        if end.end() - start > len(end.group()):
            found.append(events[start : end.end()])
        start = end.end()
    return [*found, events[start:]] if start < len(events) else found


Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**40)]  # what is beyond is no count, and is not believed


class _Details(msgspec.Struct):
    cached_tokens: Tokens | None = None
    reasoning_tokens: Tokens | None = None


class WireUsage(msgspec.Struct):
    """OpenAI's usage object."""

    prompt_tokens: Tokens
    completion_tokens: Tokens = 0
    total_tokens: Tokens | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None

    def usage(self) -> Usage:
        """In our words; a part is never larger than its whole.

        Gemini's total has tokens that it thought with and that its other numbers lack
        (https://github.com/Clarifai/clarifai-python/pull/978). They are output, and are paid for.
        """
        prompt, completion = self.prompt_tokens_details, self.completion_tokens_details
        untold = max(0, (self.total_tokens or 0) - self.prompt_tokens - self.completion_tokens)
        reasoning = (completion.reasoning_tokens or 0) if completion else 0
        return Usage(
            input=self.prompt_tokens,
            output=self.completion_tokens + untold,
            cached=min(prompt.cached_tokens or 0, self.prompt_tokens) if prompt else 0,
            reasoning=min(max(reasoning, untold), self.completion_tokens + untold),
        )


_NULL = msgspec.Raw(b"null")


class _Reported(msgspec.Struct):
    usage: WireUsage | None = None
    choices: list[msgspec.Raw] | None = None
    data: list[msgspec.Raw] | None = None  # of embeddings
    error: msgspec.Raw = _NULL

    @property
    def is_error(self) -> bool:
        return not self.choices and self.error != _NULL


class _Offered(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    data: list[msgspec.Raw] | None = None


_reported = msgspec.json.Decoder(_Reported)


def _known(body: bytes) -> _Reported:
    """Without the usage where that has a shape we do not know."""
    try:
        return _reported.decode(body)
    except msgspec.ValidationError:
        offered = msgspec.json.decode(body, type=_Offered)
        return _Reported(choices=offered.choices, data=offered.data)


def read_answer(body: bytes) -> Usage | None:
    """The usage a whole answer reports, if it does. Raises `ValueError` where it is no answer: not a JSON
    object, or without choices and embeddings, as an error under 200 is.
    """
    try:
        reported = _known(body)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if reported.choices is None and reported.data is None:
        raise ValueError("it has no choices")
    return reported.usage.usage() if reported.usage else None


class _Message(msgspec.Struct):
    content: msgspec.Raw = _NULL
    reasoning_content: msgspec.Raw = _NULL
    refusal: msgspec.Raw = _NULL
    tool_calls: msgspec.Raw = _NULL


class _Choice(msgspec.Struct):
    message: _Message


class _Completion(msgspec.Struct):
    text: msgspec.Raw


class _Embedding(msgspec.Struct, tag_field="object", tag="embedding"):
    pass


class _Answer(msgspec.Struct):
    choices: list[_Choice]


class _Completions(msgspec.Struct):
    choices: list[_Completion]


class _Embeddings(msgspec.Struct):
    data: list[_Embedding]


def estimate_output(body: bytes) -> int:
    """About how many tokens a whole answer has that does not report it: the bytes of what its choices say,
    by four. Of an answer in a shape we do not know, all bytes count.
    """
    for said_in in (_said_in_chat, _said_in_completion, _said_in_embeddings):
        try:
            said = said_in(body)
        except (ValueError, RecursionError):
            continue
        return (
            sum(memoryview(raw).nbytes - 2 for raw in said) // BYTES_PER_TOKEN
        )  # without quotes or brackets
    return len(body) // BYTES_PER_TOKEN


def _said_in_chat(body: bytes) -> list[msgspec.Raw]:
    choices = msgspec.json.decode(body, type=_Answer).choices
    return [raw for choice in choices for raw in msgspec.structs.astuple(choice.message) if raw != _NULL]


def _said_in_completion(body: bytes) -> list[msgspec.Raw]:
    return [choice.text for choice in msgspec.json.decode(body, type=_Completions).choices]


def _said_in_embeddings(body: bytes) -> list[msgspec.Raw]:
    """Numbers are no tokens."""
    msgspec.json.decode(body, type=_Embeddings)
    return []


class _Piece(msgspec.Struct):
    delta: dict[str, msgspec.Raw] = {}
    text: str = ""
    finish_reason: msgspec.Raw = _NULL


class _Chunk(msgspec.Struct):
    choices: list[_Piece] = []


_chunk = msgspec.json.Decoder(_Chunk)
_NOTHING = frozenset({b"null", b'""', b"[]", b"{}"})


def says_something(data: bytes) -> bool:
    """Whether this data of an event tells a part of the answer: more than the role, or that it is over. What
    has another shape than a chunk tells something.
    """
    if not data or data == DONE_DATA:
        return False
    try:
        return any(map(_says, _chunk.decode(data).choices))
    except (ValueError, RecursionError):
        return True


def _says(piece: _Piece) -> bool:
    if piece.text or piece.finish_reason != _NULL:
        return True
    return any(name != "role" and bytes(raw) not in _NOTHING for name, raw in piece.delta.items())


def data_of(event: bytes) -> bytes:
    """What a single event says, its lines joined; b"" for a comment."""
    start = event.find(b"data:")
    data = event[start + 5 :].strip() if start >= 0 else b""
    if b"\n" in data or b"\r" in data:
        lines = event.splitlines()
        data = b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
    return data


def before_failure(events: bytes) -> tuple[bytes, bool]:
    """The events before the first that cannot be read, or tells an error; and whether there is one."""
    if b"error" not in events and _is_readable(events):  # nearly always
        return events, False
    found = split(events)
    for place, event in enumerate(found):
        told = _told(event)
        if (
            event.startswith(b"event: error")
            or not _is_readable(event)
            or (told is not None and told.is_error)
        ):
            return b"".join(found[:place]), True
    return events, False


class _Object(msgspec.Struct):
    pass


_object = msgspec.json.Decoder(_Object)


def _is_readable(events: bytes) -> bool:
    """Whether all that is said in whole events is JSON objects, or that it is over."""
    try:
        for event in events.split(b"\n\n"):
            if event.startswith(b"data: {") and b"\n" not in event:  # nearly always
                _object.decode(event[6:])
            elif event:
                for data in map(data_of, split(event)):
                    if data and data != DONE_DATA:
                        _object.decode(data)
    except (ValueError, RecursionError):
        return False
    return True


def is_plain_event(data: bytes) -> bool:
    """Whether this is one whole event that tells neither usage, nor an error, nor the end; False also where
    it would take long to see.
    """
    if not (data.startswith(b"data: {") and data.endswith(b"}\n\n") and data.count(b"\n") == 2):
        return False
    if b"error" in data or (b'"usage"' in data and TELLS_USAGE.search(data)):
        return False
    try:
        _object.decode(data[6:])
    except (ValueError, RecursionError):
        return False
    return True


def take_usage(events: bytes, *, keep: bool) -> tuple[bytes, Usage | None]:
    """The usage told in these events; the event that tells nothing else is taken out unless `keep`."""
    found: Usage | None = None
    kept = []
    for event in split(events):
        told = _told(event) if TELLS_USAGE.search(event) else None
        if told is not None and told.usage is not None:
            found = told.usage.usage()
            if not told.choices and not keep:
                continue
        kept.append(event)
    return b"".join(kept), found


def _told(event: bytes) -> _Reported | None:
    data = data_of(event)
    try:
        return _reported.decode(data) if data else None
    except (ValueError, RecursionError):
        return None
