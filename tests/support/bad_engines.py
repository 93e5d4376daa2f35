"""Every way an engine goes bad below and above HTTP, by name: scripts for an `Upstream`.

Each fault is the bytes that go out, and what becomes of the connection then. `STREAMED` are answers to
`"stream": true`, `WHOLE` to any other. An engine that refuses connections is `Upstream.refuse`, one that
never answers them is `unreachable`; where keep-alive ends as it is asked again, `will(answers(), closes)`.
"""

import asyncio
import gzip
from collections.abc import Iterable
from typing import Literal, NamedTuple

from tests.support import wire
from tests.support.upstream import Call, Script, closes, hangs, resets, stays

Ending = Literal["reset", "close", "hang", "stay", "go on", "drip"]
DRIP_S = 0.02
THEN: dict[str, Script] = {"reset": resets, "close": closes, "hang": hangs, "stay": stays}


class Fault(NamedTuple):
    """What an engine sends, each piece by itself, and how it ends: `go on` says the last piece for ever, and
    so does `drip`, slowly.
    """

    pieces: tuple[bytes, ...]
    then: Ending = "close"

    async def __call__(self, call: Call) -> None:
        """It is a `Script`."""
        await call.send(*self.pieces)
        if self.then == "go on":
            while not call.gone.is_set():
                await call.send(self.pieces[-1])
                await call.drained()
        elif self.then == "drip":
            while not call.gone.is_set():
                await call.send(self.pieces[-1])
                await asyncio.sleep(DRIP_S)
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
WIDE = 'data: {"choices": [{"index": 0, "delta": {"content": "One tw\u00f6."}}]}\n\n'.encode()
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


def _halved(data: bytes) -> tuple[bytes, bytes]:
    """Cut in the middle of its first character that has two bytes."""
    middle = next(place for place, byte in enumerate(data) if byte > 127) + 1
    return data[:middle], data[middle:]


def _bytewise(data: Iterable[int]) -> tuple[bytes, ...]:
    return tuple(bytes([byte]) for byte in data)


def _status(status: int, **headers: str) -> Fault:
    return Fault((wire.response(wire.problem("Busy."), status, headers),), "stay")


def _streamed(*events: bytes) -> Fault:
    """A stream that is well-formed as HTTP, and tells these events."""
    return Fault((*_said(*events), wire.LAST_CHUNK), "stay")


def _whole(body: bytes, **headers: str) -> Fault:
    return Fault((wire.response(body, headers=headers),), "stay")


def _usage(prompt: int, completion: int) -> bytes:
    return wire.event({"choices": [], "usage": wire.usage(prompt, completion)})


# What is bad whatever was asked for.
ALWAYS: dict[str, Fault] = {
    "not HTTP": Fault((b"SSH-2.0-OpenSSH_9.6\r\n",)),
    "a head that never ends": Fault((b"HTTP/1.1 200 OK\r\n", b"x-filler: " + b"x" * 1000 + b"\r\n"), "go on"),
    "an answer of no known length": Fault((b"HTTP/1.1 200 OK\r\n\r\n" + BODY[:-5],)),
    "a redirect": Fault((wire.response(b"", 307, {"location": "http://127.0.0.1:1/"}),), "stay"),
    "another protocol": Fault(
        (b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",), "hang"
    ),
    "interim answers that never end": Fault((b"HTTP/1.1 100 Continue\r\n\r\n" * 500,), "go on"),
    "an interim answer and then silence": Fault((b"HTTP/1.1 103 Early Hints\r\n\r\n",), "hang"),
    "a head that drips": Fault((b"HTTP/1.1 200 OK\r\nx-filler: ", b"x"), "drip"),
    "a head that is too long": Fault((b"HTTP/1.1 200 OK\r\nx-filler: " + b"x" * 200_000 + b"\r\n\r\n",)),
    "204": Fault((b"HTTP/1.1 204 No Content\r\n\r\n",), "stay"),
    **{f"{status}": _status(status) for status in (400, 401, 403, 404, 408, 409, 413, 422, 425)},
    "429": _status(429),
    "429 with a time": _status(429, **{"retry-after": "7"}),
    "429 with a date": _status(429, **{"retry-after": "Wed, 21 Oct 2065 07:28:00 GMT"}),
    "500": _status(500),
    "501": _status(501),
    "502": _status(502),
    "503": _status(503),
    "504": _status(504),
    "529": _status(529),
    "500 that is no JSON": Fault(
        (wire.response(b"<html>Oops</html>", 500, {"content-type": "text/html"}),), "stay"
    ),
    "an error under 200": Fault((wire.response(ERROR),), "stay"),
    "garbage under 200": Fault((wire.response(b"\x00\xff<html>"),), "stay"),
    "nothing under 200": Fault((wire.response(b""),), "stay"),
    "a web page under 200": _whole(b"<html>It works!</html>", **{"content-type": "text/html"}),
    "a list under 200": _whole(b"[]"),
    "null under 200": _whole(b"null"),
    "an object that is no completion": _whole(b'{"detail": "Not Found"}'),
}
STREAMED: dict[str, Fault] = {
    **_broken(STREAM_PHASES),
    **ALWAYS,
    "an answer in one piece": _whole(BODY),
    "an error as the first event": _streamed(FAILED),
    "an error as the first event, named": _streamed(b'event: error\ndata: "CUDA out of memory."\n\n'),
    "an error as a later event": _streamed(CONTENT[0], FAILED),
    "an error as a later event, and an end": _streamed(CONTENT[0], FAILED, wire.DONE),
    "an event that is no JSON": Fault(
        (*_said(CONTENT[0], b"data: {oops\n\n"), ENDED, wire.LAST_CHUNK), "stay"
    ),
    "a first event that is no JSON": _streamed(b"data: {oops\n\n", wire.DONE),
    "two documents in an event": _streamed(
        CONTENT[0], b"data: %b\n%b" % (CONTENT[1][6:-2], CONTENT[1]), FINISH, wire.DONE
    ),
    "two documents in a line": _streamed(
        CONTENT[0], b"data: %b %b" % (CONTENT[1][6:-2], CONTENT[1][6:]), FINISH, wire.DONE
    ),
    "a document over two lines": _streamed(CONTENT[0].replace(b", ", b",\ndata: ", 1), FINISH, wire.DONE),
    "a stream that is none": _streamed(b"\x00\xff" * 50),
    "a stream in gzip": Fault(
        (
            wire.STREAM_HEAD[:-2] + b"content-encoding: gzip\r\n\r\n",
            wire.chunk(gzip.compress(b"".join((*CONTENT, FINISH, wire.DONE)), mtime=0)),
            wire.LAST_CHUNK,
        ),
        "stay",
    ),
    "a stream that calls itself Text/Event-Stream": Fault(
        (
            wire.STREAM_HEAD.replace(b"text/event-stream", b"Text/Event-Stream; charset=UTF-8"),
            *_said(*CONTENT)[1:],
            ENDED,
            wire.LAST_CHUNK,
        ),
        "stay",
    ),
    "a stream of HTTP/1.0": Fault(
        (b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", *CONTENT, FINISH, wire.DONE)
    ),
    "a stream with a length": Fault(
        (
            wire.response(
                b"".join((*CONTENT, FINISH, wire.DONE)), headers={"content-type": "text/event-stream"}
            ),
        ),
        "stay",
    ),
    "an end without an end": _streamed(*CONTENT),
    "a finish, but no [DONE]": _streamed(*CONTENT, FINISH),
    "a [DONE] without a finish": _streamed(*CONTENT, _usage(1, 2), wire.DONE),
    "a [DONE] without a blank line": _streamed(*CONTENT, FINISH, wire.DONE[:-2]),
    "events behind [DONE]": _streamed(*CONTENT, FINISH, wire.DONE, CONTENT[0]),
    "nothing but [DONE]": _streamed(wire.DONE),
    "a usage that cannot be": _streamed(*CONTENT, FINISH.replace(b": 2,", b": %d," % 10**30), wire.DONE),
    "a usage below zero": _streamed(*CONTENT, FINISH.replace(b": 2,", b": -2,"), wire.DONE),
    "a byte order mark": _streamed(b"\xef\xbb\xbf" + CONTENT[0], CONTENT[1], FINISH, wire.DONE),
    "lines that end in CRLF": _streamed(
        *(event.replace(b"\n", b"\r\n") for event in (*CONTENT, FINISH, wire.DONE))
    ),
    "lines that end in CR": _streamed(
        *(event.replace(b"\n", b"\r") for event in (*CONTENT, FINISH, wire.DONE))
    ),
    "line ends of all kinds": _streamed(
        CONTENT[0].replace(b"\n", b"\r\n"), CONTENT[1].replace(b"\n", b"\r"), FINISH, wire.DONE
    ),
    "fields before the data": _streamed(
        *(b"id: 7\nevent: message\nretry: 100\n" + event for event in (*CONTENT, FINISH, wire.DONE))
    ),
    "fields behind the data": _streamed(
        *(event[:-1] + b"id: 7\n\n" for event in (*CONTENT, FINISH, wire.DONE))
    ),
    "no blank behind the colon": _streamed(
        *(event.replace(b"data: ", b"data:") for event in (*CONTENT, FINISH, wire.DONE))
    ),
    "comments only": _streamed(b": hello\n\n", b": still here\n\n"),
    "comments among the events": _streamed(
        b": hi\n\n", CONTENT[0], b": still\n\n", CONTENT[1], FINISH, wire.DONE
    ),
    "a character in two pieces": Fault((*_said(*_halved(WIDE)), ENDED, wire.LAST_CHUNK), "stay"),
    "a stream of nothing": _streamed(),
    "events that drip": Fault(_said(*CONTENT), "drip"),
    "comments that drip, and nothing before": Fault(_said(b": still here\n\n"), "drip"),
    "comments that never end, and nothing before": Fault(_said(b": still here\n\n" * 500), "go on"),
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
    "a length and chunks": Fault(
        (
            HEAD[:-2] + b"transfer-encoding: chunked\r\n\r\n",
            wire.chunk(BODY),
            wire.LAST_CHUNK,
        ),
    ),
    "an answer of HTTP/1.0": Fault((b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n", BODY)),
    "an answer in gzip": _whole(gzip.compress(BODY, mtime=0), **{"content-encoding": "gzip"}),
    "an answer that calls itself a web page": _whole(BODY, **{"content-type": "text/html"}),
    "an answer behind an interim one": Fault(
        (b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + TOLD,), "stay"
    ),
    "a usage that cannot be": _whole(BODY.replace(b'_tokens": 2,', b'_tokens": %d,' % 10**30)),
    "a usage below zero": _whole(BODY.replace(b'_tokens": 2,', b'_tokens": -2,')),
    "no usage": _whole(wire.completion("One two.")),
    "a byte order mark": _whole(b"\xef\xbb\xbf" + BODY),
    "no choices": _whole(b'{"object": "chat.completion", "choices": []}'),
    "two documents": _whole(BODY + BODY),
    "a body that drips": Fault(
        (HEAD[:-2].replace(b"length: ", b"length: 9") + b"\r\n", BODY[:-5], b" "), "drip"
    ),
    "a second answer nobody asked for": Fault((TOLD, TOLD), "stay"),
    "a huge body": Fault((wire.response(wire.completion("x" * OVERSIZED)),), "stay"),
    "a byte at a time": Fault(_bytewise(TOLD), "stay"),
}
