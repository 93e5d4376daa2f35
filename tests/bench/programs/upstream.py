"""An engine that streams: a fixed text in so many chunks, so far apart. It counts what it writes.

python -m tests.bench.programs.upstream PORT

The model names the stream: `stream-64x10` is 64 chunks, one every 10 ms. `GET /sent` answers with the
number of events written so far, `[DONE]` included.
"""

import asyncio
import re
import sys
from typing import cast

import httptools
import msgspec
import uvloop

SHAPE = re.compile(r"stream-(\d+)x(\d+)")
PROMPT_TOKENS = 231
ID = '"id":"chatcmpl-9f8e7d6c5b4a39281706f5e4d3c2b1a0","object":"chat.completion.chunk"'
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
LAST_EVENTS = 3  # the finish reason, the usage, [DONE]


class Asked(msgspec.Struct):
    """What of a request's body matters here."""

    model: str


class Sent:
    """How many events were written, on all connections together."""

    events = 0


def event(json: str) -> bytes:
    """An event in a chunk of its own."""
    data = f"data: {json}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def delta(content: str, finish: str = "null") -> bytes:
    """An event with a piece of the answer."""
    choice = f'{{"index":0,"delta":{content},"logprobs":null,"finish_reason":{finish}}}'
    return event(f'{{{ID},"created":1760000000,"model":"stream","choices":[{choice}]}}')


FIRST = delta('{"role":"assistant","content":""}')
MIDDLE = delta('{"content":" token"}')


def end(chunks: int) -> bytes:
    """How a stream ends: with its usage, a token a chunk."""
    total = PROMPT_TOKENS + chunks
    usage = f'{{"prompt_tokens":{PROMPT_TOKENS},"completion_tokens":{chunks},"total_tokens":{total}}}'
    last = event(f'{{{ID},"created":1760000000,"model":"stream","choices":[],"usage":{usage}}}')
    return delta("{}", '"stop"') + last + event("[DONE]") + b"0\r\n\r\n"


class Stream:
    """One answer on its way; it stops where the other side went away."""

    def __init__(self, transport: asyncio.Transport, chunks: int, gap_s: float, sent: Sent) -> None:
        self._transport = transport
        self._chunks = self._left = chunks
        self._gap_s = gap_s
        self._sent = sent
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()

    def begin(self) -> None:
        """Writes the head and the first chunk."""
        self._write(STREAM_HEAD + FIRST)
        self._wait()

    def _wait(self) -> None:
        self._due += self._gap_s
        self._loop.call_at(self._due, self._go_on)

    def _go_on(self) -> None:
        if self._transport.is_closing():
            return
        if self._left:
            self._write(MIDDLE)
            self._wait()
        else:
            self._transport.write(end(self._chunks))
            self._sent.events += LAST_EVENTS

    def _write(self, data: bytes) -> None:
        self._transport.write(data)
        self._left -= 1
        self._sent.events += 1


class Connection(asyncio.Protocol):
    """One caller: a request, its answer, the next request."""

    def __init__(self, sent: Sent) -> None:
        self._sent = sent
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        self._url += url

    def on_body(self, body: bytes) -> None:
        """A part of the request's body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        url, body = self._url, b"".join(self._body)
        self._url, self._body = b"", []
        if url == b"/sent":
            self._answer(b"%d" % self._sent.events)
        else:
            self._stream(body)

    def _stream(self, body: bytes) -> None:
        shape = SHAPE.fullmatch(msgspec.json.decode(body, type=Asked).model)
        if shape is None:
            self._transport.close()
            return
        chunks, gap_ms = map(int, shape.groups())
        Stream(self._transport, chunks, gap_ms / 1000, self._sent).begin()

    def _answer(self, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def serve(port: int) -> None:
    """Until it is stopped."""
    sent = Sent()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(sent), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
