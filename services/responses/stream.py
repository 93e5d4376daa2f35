"""The events of a response, made of the events of a chat completion as they come."""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from services.pool.sse import data_of, split
from services.responses.told import (
    NULL,
    REASONS,
    Failed,
    FunctionCall,
    Output,
    OutputMessage,
    OutputText,
    Response,
    Status,
    ended,
    item_id,
    usage_of,
)


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Problem(msgspec.Struct):
    message: str = "The engine failed."
    code: str | int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = NULL
    error: _Problem | None = None


_chunk = msgspec.json.Decoder(_Chunk)


@dataclass(slots=True)
class _Said:
    """A message, or a call, as far as it was told."""

    at: int
    id: str
    call_id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def item(self, status: Status, text: str, *, whole: bool = True) -> Output:
        if self.call_id:
            return FunctionCall(
                id=self.id, status=status, call_id=self.call_id, name=self.name, arguments=text
            )
        return OutputMessage(id=self.id, status=status, content=(OutputText(text),) if whole else ())


class ResponseStream:
    """Takes whole events of a chat completion in, gives those of the response out, in their order.

    A message is done when a call begins, or at the end; calls, which may be told interleaved, at the end.
    Nothing comes out behind the end. `now`: seconds since 1970. `number`: of the next event. `ends`: False
    where the last event, the one that has the whole response, is not told here but by whoever keeps that.
    `response`: as far as it is known; whole once it is `over`.
    """

    def __init__(
        self, response: Response, now: Callable[[], int], *, number: int = 0, ends: bool = True
    ) -> None:
        self.response = response
        self._now = now
        self._ends = ends
        self.number = number
        self.said = 0  # characters of texts and arguments
        self._message: _Said | None = None
        self._calls: dict[int, _Said] = {}
        self._items: list[_Said] = []
        self._finish: str | None = None
        self._usage = NULL
        self.over = False

    def begin(self) -> bytes:
        """The events before anything is said."""
        return self._whole("response.created") + self._whole("response.in_progress")

    def feed(self, events: bytes) -> bytes:
        """The events that follow from these."""
        return b"".join(map(self._read, split(events)))

    def _read(self, one: bytes) -> bytes:
        data = data_of(one)
        if not data:
            return one  # a comment, which keeps the line alive
        if self.over:
            return b""
        if data == b"[DONE]":
            return self._end()
        try:
            chunk = _chunk.decode(data)
        except (ValueError, RecursionError):
            return self._fail(_Problem(message="The engine's stream cannot be read."))
        if chunk.error is not None:
            return self._fail(chunk.error)
        if chunk.usage != NULL:
            self._usage = chunk.usage
        return b"".join(self._choose(choice) for choice in chunk.choices or () if choice.index == 0)

    def _choose(self, choice: _Choice) -> bytes:
        self._finish = choice.finish_reason or self._finish
        delta = choice.delta or _Delta()
        told = b""
        if text := delta.content or delta.refusal:
            told += self._say(text)
        for call in delta.tool_calls or ():
            told += self._call(call)
        return told

    # --- what is told

    def _say(self, text: str) -> bytes:
        told = b""
        if self._message is None:
            self._message = self._open(_Said(at=len(self._items), id=self._id("msg")))
            told = self._added(self._message) + self._part("response.content_part.added", self._message, "")
        self._message.pieces.append(text)
        self.said += len(text)
        return told + self._of(
            "response.output_text.delta", self._message, content_index=0, delta=text, logprobs=()
        )

    def _call(self, call: _Call) -> bytes:
        function = call.function or _Function()
        told, said = b"", self._calls.get(call.index)
        if said is None:
            told = self._close_message("completed")
            said = _Said(
                at=len(self._items),
                id=self._id("fc"),
                call_id=call.id or self._id("call"),
                name=function.name or "",
            )
            self._calls[call.index] = self._open(said)
            told += self._added(said)
        if function.arguments:
            said.pieces.append(function.arguments)
            self.said += len(function.arguments)
            told += self._of("response.function_call_arguments.delta", said, delta=function.arguments)
        return told

    def _id(self, kind: str) -> str:
        return item_id(kind, self.response, len(self._items))

    def _open(self, said: _Said) -> _Said:
        self._items.append(said)
        return said

    # --- the ends

    def _close_message(self, status: Status) -> bytes:
        said, self._message = self._message, None
        if said is None:
            return b""
        text = said.text
        told = self._of("response.output_text.done", said, content_index=0, text=text, logprobs=())
        return told + self._part("response.content_part.done", said, text) + self._done(said, status)

    def _end(self) -> bytes:
        status: Status = "incomplete" if self._finish in REASONS else "completed"
        told = self._close_message(status)
        for said in self._calls.values():
            told += self._of(
                "response.function_call_arguments.done", said, name=said.name, arguments=said.text
            )
            told += self._done(said, status)
        output, usage = self._output(status), usage_of(self._usage)
        self.response = ended(self.response, output, self._finish, usage, self._now())
        return told + self._last(f"response.{status}")

    def _fail(self, problem: _Problem) -> bytes:
        failed = Failed(code=str(problem.code or "server_error"), message=problem.message)
        output = self._output("incomplete")
        self.response = replace(
            self.response, status="failed", error=failed, output=output, usage=usage_of(self._usage)
        )
        return self._last("response.failed")

    def _output(self, status: Status) -> tuple[Output, ...]:
        return tuple(
            said.item("completed" if self._is_whole(said) else status, said.text) for said in self._items
        )

    def _is_whole(self, said: _Said) -> bool:
        """A message that was done before the end."""
        return not said.call_id and said is not self._items[-1]

    def _last(self, kind: str) -> bytes:
        self.over = True
        return self._whole(kind) if self._ends else b""

    def end_told(self) -> bytes:
        """The last event, where it was left to be told later."""
        return self._whole(f"response.{self.response.status}")

    # --- how events are written

    def _added(self, said: _Said) -> bytes:
        item = said.item("in_progress", "", whole=False)
        return self._event("response.output_item.added", output_index=said.at, item=item)

    def _done(self, said: _Said, status: Status) -> bytes:
        item = said.item(status, said.text)
        return self._event("response.output_item.done", output_index=said.at, item=item)

    def _part(self, kind: str, said: _Said, text: str) -> bytes:
        return self._of(kind, said, content_index=0, part=OutputText(text))

    def _of(self, kind: str, said: _Said, **fields: object) -> bytes:
        return self._event(kind, item_id=said.id, output_index=said.at, **fields)

    def _whole(self, kind: str) -> bytes:
        return self._event(kind, response=self.response)

    def _event(self, kind: str, **fields: object) -> bytes:
        told = event(kind, self.number, **fields)
        self.number += 1
        return told


def event(kind: str, number: int, **fields: object) -> bytes:
    """One event, as it goes over the wire."""
    told = msgspec.json.encode({"type": kind, "sequence_number": number, **fields})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), told)
