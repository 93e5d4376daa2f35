"""The dialect of Gemini's OpenAI-compatible endpoint, as far as it is no OpenAI's.

What is known of it, and from where, stands at each difference; all else passes as it is. `extra_content`, in
which Gemini keeps its thought signatures, is not touched: clients send it back with the next turn.
"""

import re
from typing import Any

import msgspec

from services.pool.flight import Headers, value_of
from services.pool.sse import EventBuffer, data_of, split
from services.pool.stream import running_usage
from services.pool.wire import LIMITED, NEW_LIMIT, OLD_LIMIT

DURATION = re.compile(r"(\d{1,6})(?:\.\d{0,9})?s")  # protobuf's, in JSON

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Detail(msgspec.Struct):
    retry_delay: str = msgspec.field(name="retryDelay", default="")


class _Error(msgspec.Struct):
    details: list[_Detail] = []


class _Envelope(msgspec.Struct):
    error: _Error


_refusal = msgspec.json.Decoder(_Envelope | list[_Envelope])


class Gemini:
    """One call's `Dialect`."""

    def __init__(self) -> None:
        self._buffer = EventBuffer()
        self._calls: dict[int, _ToolCalls] = {}  # by the index of their choice
        self._usage: dict[str, Any] | None = None  # an event that tells the usage so far, and nothing else

    def request(self, body: bytes) -> bytes:
        """Both names for the limit of an answer are refused: "max_tokens and max_completion_tokens cannot
        both be set" (https://github.com/p32929/rotato/issues/22).
        """
        if LIMITED not in body:
            return body
        fields = _fields.decode(body)
        if NEW_LIMIT in fields and fields.pop(OLD_LIMIT, None) is not None:
            return msgspec.json.encode(fields)
        return body

    def refused(self, headers: Headers, body: bytes) -> Headers:
        """How long to wait is told in the body of an error, as a `google.rpc.RetryInfo`, and by no header
        (https://github.com/vercel/ai/issues/18627); the error itself may be the only item of a list.
        """
        if value_of(headers, b"retry-after") is not None:
            return headers
        try:
            told = _refusal.decode(body)
        except (ValueError, RecursionError):
            return headers
        envelope = told if isinstance(told, _Envelope) else next(iter(told), None)
        for detail in envelope.error.details if envelope else ():
            if found := DURATION.fullmatch(detail.retry_delay):
                return headers | {b"retry-after": b"%d" % (int(found[1]) + 1)}
        return headers

    def events(self, data: bytes) -> bytes:
        """See `Dialect`."""
        try:
            events = self._buffer.feed(data)
        except ValueError:  # too long to be an event: who hears it will say so
            events, self._buffer = self._buffer.rest, EventBuffer()
            return events
        return b"".join(map(self._event, split(events)))

    def rest(self) -> bytes:
        """See `Dialect`."""
        return self._event(self._buffer.rest) if self._buffer.rest else b""

    def _event(self, event: bytes) -> bytes:
        event = event.replace(b"\r\n", b"\n")  # ours end in \n, and one stream has one kind
        data = data_of(event)
        if data == b"[DONE]":
            return self._last_usage() + event
        try:
            chunk = msgspec.json.decode(data)
            for choice in chunk["choices"]:
                self._mend(choice)
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            return event  # no chunk: an error, or a comment
        running = b""
        if chunk["choices"] and isinstance(chunk.get("usage"), dict):
            running = self._take_usage(chunk)
        return b"data: %b\n\n%b" % (msgspec.json.encode(chunk), running)

    # --- usage

    def _take_usage(self, chunk: dict[str, Any]) -> bytes:
        """Every chunk tells the usage so far, where OpenAI tells it once at the end; clients add them up
        (https://github.com/ogx-ai/ogx/issues/5122).
        """
        usage = chunk.pop("usage")
        rest = {name: value for name, value in chunk.items() if name != "choices"}
        self._usage = {**rest, "choices": [], "usage": usage}
        return running_usage(msgspec.json.encode(usage))

    def _last_usage(self) -> bytes:
        return b"data: %b\n\n" % msgspec.json.encode(self._usage) if self._usage else b""

    # --- tool calls

    def _mend(self, choice: dict[str, Any]) -> None:
        calls = self._calls.setdefault(choice.get("index") or 0, _ToolCalls())
        for piece in choice.get("delta", {}).get("tool_calls") or ():
            calls.number(piece)
        if calls.count and choice.get("finish_reason") == "stop":
            # https://github.com/googleapis/python-genai/issues/2868: so only in streams
            choice["finish_reason"] = "tool_calls"


class _ToolCalls:
    """The calls of tools that a streamed choice makes. Their pieces come without the `index` that tells them
    apart (https://github.com/THU-MAIC/OpenMAIC/issues/1556), and one call may come in several
    (https://github.com/open-webui/computer/issues/224).
    """

    def __init__(self) -> None:
        self.count = 0
        self._by_id: dict[str, int] = {}

    def number(self, piece: dict[str, Any]) -> None:
        """Gives a piece its index, where it has none."""
        name, told = piece.get("id"), piece.get("index")
        if isinstance(told, int):
            self.count = max(self.count, told + 1)
            return
        begins = (name not in self._by_id) if name else bool(piece.get("function", {}).get("name"))
        if begins or not self.count:
            self.count += 1
        piece["index"] = self._by_id.setdefault(name, self.count - 1) if name else self.count - 1
