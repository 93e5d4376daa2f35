"""Every way an engine goes bad below and above HTTP, by name: scripts for an `Upstream`.

Each fault is the bytes that go out, and what becomes of the connection then. `STREAMED` are answers to
`"stream": true`, `WHOLE` to any other. An engine that refuses connections is `Upstream.refuse`, one that
never answers them is `unreachable`; where keep-alive ends as it is asked again, `will(answers(), closes)`.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from tests.support import wire
from tests.support.upstream import Call, Script, closes, hangs, resets, stays

Ending = Literal["reset", "close", "hang", "stay", "go on"]
THEN: dict[str, Script] = {"reset": resets, "close": closes, "hang": hangs, "stay": stays}


class Fault(NamedTuple):
    """What an engine sends, each piece by itself, and how it ends: `go on` says the last piece for ever."""

    pieces: tuple[bytes, ...]
    then: Ending = "close"

    async def __call__(self, call: Call) -> None:
        """It is a `Script`."""
        await call.send(*self.pieces)
        if self.then == "go on":
            while not call.gone.is_set():
                await call.send(self.pieces[-1])
                await call.drained()
        else:
            await THEN[self.then](call)


CONTENT = (wire.delta("One"), wire.delta(" two."))
FINISH = wire.event(
    {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "usage": wire.usage(1, 2),
    }
)
ENDED = wire.chunk(FINISH) + wire.chunk(wire.DONE)
BODY = wire.completion("One two.", usage=wire.usage(1, 2))
TOLD = wire.response(BODY)
HEAD = TOLD.removesuffix(BODY)
ERROR = wire.problem("CUDA out of memory.", code="out_of_memory")
FAILED = b"data: %b\n\n" % ERROR
OVERSIZED = 4 * 2**20  # bytes of one event, and more than a relay should hold of an answer


def _said(*events: bytes) -> tuple[bytes, ...]:
    return (wire.STREAM_HEAD, *map(wire.chunk, events))


STREAM_PHASES: dict[str, tuple[bytes, ...]] = {
    "before the head": (),
    "in the head": (wire.STREAM_HEAD[:30],),
    "after the head": (wire.STREAM_HEAD,),
    "in an event": (*_said(CONTENT[0]), wire.chunk(CONTENT[1][:20])),
    "in a chunk": (*_said(CONTENT[0]), wire.chunk(CONTENT[1])[:-30]),
    "between events": _said(CONTENT[0]),
    "after the content": _said(*CONTENT),
    "after the finish": _said(*CONTENT, FINISH),
    "before the last chunk": (*_said(*CONTENT), ENDED),
}
WHOLE_PHASES: dict[str, tuple[bytes, ...]] = {
    "before the head": (),
    "in the head": (HEAD[:30],),
    "after the head": (HEAD,),
    "in the body": (HEAD, BODY[:-20]),
}
ENDINGS: tuple[Ending, ...] = ("reset", "close", "hang")


def _broken(phases: dict[str, tuple[bytes, ...]]) -> dict[str, Fault]:
    return {f"{then} {phase}": Fault(sent, then) for phase, sent in phases.items() for then in ENDINGS}


def _bytewise(data: Iterable[int]) -> tuple[bytes, ...]:
    return tuple(bytes([byte]) for byte in data)


def _status(status: int, **headers: str) -> Fault:
    return Fault((wire.response(wire.problem("Busy."), status, headers),), "stay")


# What is bad whatever was asked for.
ALWAYS: dict[str, Fault] = {
    "not HTTP": Fault((b"SSH-2.0-OpenSSH_9.6\r\n",)),
    "a head that never ends": Fault((b"HTTP/1.1 200 OK\r\n", b"x-filler: " + b"x" * 1000 + b"\r\n"), "go on"),
    "an answer of no known length": Fault((b"HTTP/1.1 200 OK\r\n\r\n" + BODY[:-5],)),
    "a redirect": Fault((wire.response(b"", 307, {"location": "http://127.0.0.1:1/"}),), "stay"),
    "429": _status(429),
    "429 with a time": _status(429, **{"retry-after": "7"}),
    "503": _status(503),
    "500 that is no JSON": Fault((wire.response(b"<html>Oops</html>", 500, {"content-type": "text/html"}),)),
    "an error under 200": Fault((wire.response(ERROR),), "stay"),
    "garbage under 200": Fault((wire.response(b"\x00\xff<html>"),), "stay"),
    "nothing under 200": Fault((wire.response(b""),), "stay"),
}
STREAMED: dict[str, Fault] = {
    **_broken(STREAM_PHASES),
    **ALWAYS,
    "an error as the first event": Fault((*_said(FAILED), wire.LAST_CHUNK), "stay"),
    "an error as a later event": Fault((*_said(CONTENT[0], FAILED), wire.LAST_CHUNK), "stay"),
    "an event that is no JSON": Fault(
        (*_said(CONTENT[0], b"data: {oops\n\n"), ENDED, wire.LAST_CHUNK), "stay"
    ),
    "a stream that is none": Fault((*_said(b"\x00\xff" * 50), wire.LAST_CHUNK), "stay"),
    "an end without an end": Fault((*_said(*CONTENT), wire.LAST_CHUNK), "stay"),
    "a stream of nothing": Fault((*_said(), wire.LAST_CHUNK), "stay"),
    "a stream that never ends": Fault(_said(*CONTENT), "go on"),
    "comments that never end": Fault(_said(CONTENT[0], b": still here\n\n"), "go on"),
    "an event that never ends": Fault(_said(b"data: " + b"x" * 60_000), "go on"),
    "a chunk with a size that is none": Fault((wire.STREAM_HEAD, b"zz\r\nhello\r\n")),
    "a chunk larger than it says": Fault((wire.STREAM_HEAD, b"5\r\nfar too much\r\n")),
    "a huge event": Fault((*_said(wire.delta("x" * OVERSIZED)), ENDED, wire.LAST_CHUNK), "stay"),
    "a byte at a time": Fault(_bytewise(b"".join((*_said(*CONTENT), ENDED, wire.LAST_CHUNK))), "stay"),
}
WHOLE: dict[str, Fault] = {
    **_broken(WHOLE_PHASES),
    **ALWAYS,
    "a length too long": Fault((wire.response(BODY, headers={"content-length": str(len(BODY) + 10)}),)),
    "a length too short": Fault(
        (wire.response(BODY, headers={"content-length": str(len(BODY) - 10)}),), "stay"
    ),
    "a length that is none": Fault((wire.response(BODY, headers={"content-length": "many"}),)),
    "two lengths": Fault((TOLD.replace(b"\r\n", b"\r\ncontent-length: 1\r\n", 1),)),
    "a second answer nobody asked for": Fault((TOLD, TOLD), "stay"),
    "a huge body": Fault((wire.response(wire.completion("x" * OVERSIZED)),), "stay"),
    "a byte at a time": Fault(_bytewise(TOLD), "stay"),
}
