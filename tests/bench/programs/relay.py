"""The least a gateway can do in Python, as a ruler: `asyncio.Protocol`, httptools and uvloop.

python -m tests.bench.programs.relay PORT KEY MODEL=UPSTREAM_PORT...

It checks the key, reads the model, relays the answer's bytes as they come and sums the usage in memory.
It has no limits, no retries, no deadlines, and what it counted dies with it.
"""

import asyncio
import sys
from collections import deque
from typing import cast

import httptools
import msgspec
import uvloop

HOST = "127.0.0.1"
OTHER_KEYS = 1000
HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


class Message(msgspec.Struct):
    """A message of a conversation."""

    role: str


class Asked(msgspec.Struct):
    """What of a request's body matters here."""

    model: str
    messages: list[Message]


class Usage(msgspec.Struct):
    """What an answer cost."""

    prompt_tokens: int
    completion_tokens: int


class Answer(msgspec.Struct):
    """What of an answer matters here."""

    usage: Usage | None = None


ask = msgspec.json.Decoder(Asked)
answer = msgspec.json.Decoder(Answer)


def plain(status: str, body: bytes = b"{}") -> bytes:
    """An answer of the relay's own."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Relay:
    """The keys, the models and where they are, the connections kept, and the sums."""

    def __init__(self, key: str, ports: dict[str, int]) -> None:
        self.teams = {f"Bearer sk-other-{number}".encode(): f"team {number}" for number in range(OTHER_KEYS)}
        self.teams[f"Bearer {key}".encode()] = "bench"
        self.ports = ports
        self.idle: dict[int, list[Upstream]] = {port: [] for port in ports.values()}
        self.sums: dict[tuple[str, str], list[int]] = {}

    def count(self, team: str, model: str, body: bytes) -> None:
        """Adds what an answer, or an event, says it cost."""
        usage = answer.decode(body).usage
        if usage is not None:
            sums = self.sums.setdefault((team, model), [0, 0, 0])
            sums[0] += 1
            sums[1] += usage.prompt_tokens
            sums[2] += usage.completion_tokens


class Upstream(asyncio.Protocol):
    """A connection to an upstream, kept for the next request; `client` is whom it answers now."""

    def __init__(self, relay: Relay, port: int) -> None:
        self.client: Client | None = None
        self._relay = relay
        self._port = port
        self._reset()

    def _reset(self) -> None:
        self._held = b""
        self._body_at = 0
        self._size: int | None = None  # of head and body; None: not known yet, or streamed
        self.streaming = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        client, self.client = self.client, None
        if client is not None:
            client.upstream_lost(begun=self.streaming)

    def send(self, client: "Client", body: bytes) -> None:
        """Passes a request on."""
        self.client = client
        head = (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: %b:%d\r\nauthorization: Bearer upstream\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
        )
        self.transport.write(head % (HOST.encode(), self._port, len(body)) + body)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        client = self.client
        if client is None:
            self.transport.close()  # nobody asked
            return
        if not self.streaming:
            self._held = self._held + data if self._held else data
            if not self._body_at:
                self._read_head()
            data = self._held
        if self.streaming:
            client.pass_on(data)
            if data.endswith(LAST_CHUNK):
                self._finish(client)
        elif self._size is not None and len(data) >= self._size:
            client.pass_whole(data, data[self._body_at :])
            self._finish(client)

    def _read_head(self) -> None:
        end = self._held.find(HEAD_END)
        if end < 0:
            return
        self._body_at = end + len(HEAD_END)
        head = self._held[: end + 2].lower()
        _, named, rest = head.partition(b"\r\ncontent-length:")
        if named:
            self._size = self._body_at + int(rest[: rest.find(b"\r\n")])
        else:
            self.streaming = True

    def _finish(self, client: "Client") -> None:
        self.client = None
        self._reset()
        self._relay.idle[self._port].append(self)
        client.answered()


class Client(asyncio.Protocol):
    """A caller's connection; requests that come before an answer wait their turn."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[bytes, bytes, bytes]] = deque()
        self._busy = False
        self._upstream: Upstream | None = None
        self._clear()

    def _clear(self) -> None:
        self._url = self._key = b""
        self._parts: list[bytes] = []

    # --- the caller's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self._upstream is not None:
            self._upstream.client = None
            self._upstream.transport.abort()

    def pause_writing(self) -> None:
        """Called by asyncio."""
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        """Called by asyncio."""
        if self._upstream is not None:
            self._upstream.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()
        else:
            self._go_on()

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of the request's headers."""
        if len(name) == 13 and name.lower() == b"authorization":
            self._key = value

    def on_body(self, body: bytes) -> None:
        """A part of the request's body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._waiting.append((self._url, self._key, b"".join(self._parts)))
        self._clear()

    def _go_on(self) -> None:
        if self._waiting and not self._busy:
            self._begin(*self._waiting.popleft())

    def _begin(self, url: bytes, key: bytes, body: bytes) -> None:
        team = self._relay.teams.get(key)
        if url != b"/v1/chat/completions":
            self._transport.write(plain("404 Not Found"))
        elif team is None:
            self._transport.write(plain("401 Unauthorized"))
        else:
            self._call(team, body)

    def _call(self, team: str, body: bytes) -> None:
        try:
            asked = ask.decode(body)
        except msgspec.DecodeError:
            self._transport.write(plain("400 Bad Request"))
            return
        port = self._relay.ports.get(asked.model)
        if port is None or not asked.messages:
            self._transport.write(plain("400 Bad Request"))
            return
        self._team, self._model, self._busy = team, asked.model, True
        self._send(port, body)

    # --- the upstream's side

    def _send(self, port: int, body: bytes) -> None:
        idle = self._relay.idle[port]
        while idle:
            upstream = idle.pop()
            if not upstream.transport.is_closing():
                self._upstream = upstream
                upstream.send(self, body)
                return
        self._dialling = asyncio.get_running_loop().create_task(self._dial(port, body))

    async def _dial(self, port: int, body: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, upstream = await loop.create_connection(lambda: Upstream(self._relay, port), HOST, port)
        except OSError:
            self.upstream_lost(begun=False)
        else:
            self._upstream = upstream
            upstream.send(self, body)

    def pass_on(self, data: bytes) -> None:
        """A piece of a stream."""
        if b'"usage":{' in data:
            self._count_event(data)
        self._transport.write(data)

    def pass_whole(self, data: bytes, body: bytes) -> None:
        """A whole answer, and its body alone."""
        self._relay.count(self._team, self._model, body)
        self._transport.write(data)

    def _count_event(self, data: bytes) -> None:
        told = data.find(b'"usage":{')
        begin, end = data.rfind(b"data: ", 0, told), data.find(b"\n", told)
        self._relay.count(self._team, self._model, data[begin + 6 : end])

    def upstream_lost(self, *, begun: bool) -> None:
        """The upstream went away, perhaps in the middle of its answer."""
        if begun:
            self._transport.close()
        else:
            self._transport.write(plain("502 Bad Gateway"))
            self.answered()

    def answered(self) -> None:
        """The next request may go."""
        self._busy = False
        self._upstream = None
        self._go_on()


async def serve(port: int, key: str, models: list[str]) -> None:
    """Until it is stopped."""
    places = dict(model.split("=") for model in models)
    relay = Relay(key, {model: int(place) for model, place in places.items()})
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(relay), HOST, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
