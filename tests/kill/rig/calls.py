"""One HTTP call, to be looked at while it is under way."""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from tests.kill import facts
from tests.support import wire

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_COMPLETION_ID = re.compile(rb'"id":"(chatcmpl-[^"]+)"')
_TOKEN = b'"delta":{"content":'
_LAST_CHUNK = b"0\r\n\r\n"
_KEEP_ALIVE = b": keep-alive\n\n"


class NotReached(Exception):
    """Nobody took the connection: nothing was asked."""


class Call:
    """A call over a connection of its own. Whatever becomes of the other side, it ends.

    `once`: the idempotency key it carries; then its parent in the trace has the same name.
    """

    def __init__(self, method: str, path: str, body: bytes = b"", key: str = "", once: str = "") -> None:
        named = {"connection": "close", "content-type": "application/json", "authorization": f"Bearer {key}"}
        if once:
            named |= {"idempotency-key": once, "traceparent": f"00-{once}-{once[:16]}-01"}
        self._request = wire.request(method, path, body, named)
        self._received = bytearray()
        self._once = once
        self.over = False

    async def run(self, port: int, within_s: float | None = None) -> None:
        """Makes it, and hangs up after `within_s`; or raises `NotReached`."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError as error:
            raise NotReached from error
        try:
            writer.write(self._request)
            async with asyncio.timeout(within_s):
                while data := await reader.read(2**16):
                    self._received += data
        except (ConnectionError, TimeoutError):
            pass  # cut, which is told from what is missing
        finally:
            self.over = True
            writer.transport.abort()

    @property
    def head(self) -> bytes:
        return bytes(self._received.partition(b"\r\n\r\n")[0])

    @property
    def body(self) -> bytes:
        """What came of the body, with its framing."""
        return bytes(self._received.partition(b"\r\n\r\n")[2])

    @property
    def status(self) -> int:
        """The status; 0 where none came."""
        found = _STATUS.match(self._received)
        return int(found[1]) if found else 0

    @property
    def headers(self) -> Mapping[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def content(self) -> bytes:
        """What came of the body, without framing and signs of life."""
        if "content-length" in self.headers:
            return self.body
        found, rest = bytearray(), self.body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            count = int(size or b"0", 16)
            found += rest[:count]
            rest = rest[count + 2 :]
        return bytes(found).replace(_KEEP_ALIVE, b"")

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The server-sent events that came whole."""
        told = self.content.split(b"\n\n")[:-1]
        return [json.loads(one.partition(b"data: ")[2]) for one in told]

    @property
    def saw_byte(self) -> bool:
        """Whether a byte of an answer came."""
        return self.status == 200 and bool(self.body)

    @property
    def tokens(self) -> int:
        """How many tokens of a stream came."""
        return self._received.count(_TOKEN)

    @property
    def whole(self) -> bool:
        """Whether all of the response came."""
        length = self.headers.get("content-length")
        if length is None:
            return self.body.endswith(_LAST_CHUNK)
        return len(self.body) == int(length)

    @property
    def answered(self) -> bool:
        """Whether all of an answer came."""
        if self.status != 200 or not self.whole:
            return False
        return "content-length" in self.headers or wire.DONE in self.body

    def fact(self) -> facts.Call:
        """What is to be remembered of it."""
        name = _COMPLETION_ID.search(self._received)
        answer = hashlib.sha256(self.content).hexdigest() if self._once and self.answered else ""
        return facts.Call(
            request_id=self.headers.get("x-request-id", ""),
            completion_id=name[1].decode() if name else "",
            saw_byte=self.saw_byte,
            ended="whole" if self.answered else "error" if self.whole and self.status else "cut",
            streamed=self.status == 200 and "content-length" not in self.headers,
            key=self._once,
            answer=answer,
        )
