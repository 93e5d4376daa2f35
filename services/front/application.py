"""An endpoint as an ASGI application: any server of that kind can stand where our front does."""

import asyncio
import logging
from collections import deque
from typing import Any

from services.front.asgi import Message, Receive, Send
from services.front.call import Call, Endpoint, Listener
from services.front.connection import PAUSES_AT
from services.front.front import Refusals
from services.front.limits import FULL, Budget, Limits
from services.front.reading import grown
from services.wire.fields import Fields

log = logging.getLogger("penstock.front")


class _Refused(Exception):
    """A call that is not read to its end: its arguments are what `render_refusal` takes."""


class Application:
    """Serves one endpoint. What a server reads and holds itself is bounded by that server; `limits` bounds
    bodies, and how long a client may take nothing of what is written to it.
    """

    def __init__(
        self, endpoint: Endpoint, *, render_refusal: Refusals, limits: Limits, budget: Budget
    ) -> None:
        self._endpoint = endpoint
        self._render_refusal = render_refusal
        self._limits = limits
        self._budget = budget

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI's one call."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        reply = _Reply(self._budget, self._limits.stalled_s)
        held = _Body(self._budget, self._limits.body)
        try:
            await held.read(scope, receive)
            call = call_of(scope, bytes(held.body))
            watching = asyncio.get_running_loop().create_task(reply.watch(receive))
            try:
                self._ask(call, reply)
                await reply.carry(send)
            finally:
                watching.cancel()
        except _Refused as refused:
            status, message, code = refused.args
            reply.send(status, *self._render_refusal(status, message, code))
            await reply.carry(send)
        finally:
            reply.gone()
            held.give_back()

    def _ask(self, call: Call, reply: "_Reply") -> None:
        try:
            self._endpoint(call, reply)
        except Exception:
            log.exception("an endpoint failed: %s %s", call.method.decode(), call.path.decode("latin-1"))
            reply.send(500, *self._render_refusal(500, "Something failed here.", "internal_error"))


async def _live(receive: Receive, send: Send) -> None:
    """There is nothing to do at the start or the end: who makes the application does that."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def call_of(scope: Message, body: bytes) -> Call:
    """The call an ASGI scope tells of; headers sent twice are joined by commas."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = b"%b, %b" % (headers[name], value) if name in headers else value
    query = scope["query_string"]
    path = scope.get("raw_path") or scope["path"].encode()
    target = b"%b?%b" % (path, query) if query else path
    return Call(scope["method"].encode(), target, headers, body, scope["http_version"])


class _Body:
    """A body as it comes, admitted to memory piece by piece."""

    def __init__(self, budget: Budget, limit: int) -> None:
        self.body: bytes | bytearray = b""
        self._budget = budget
        self._limit = limit
        self._held = 0

    async def read(self, scope: Message, receive: Receive) -> None:
        """Raises `_Refused` where it is too large, or the client left."""
        told = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        self._check(int(told))
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Refused(400, "The request broke off.", "invalid_request")
            self._take(message.get("body", b""))
            more = message.get("more_body", False)

    def _take(self, piece: bytes) -> None:
        self._check(len(self.body) + len(piece))
        if not self._budget.take(len(piece)):
            raise _Refused(503, FULL, "overloaded")
        self._held += len(piece)
        self.body = grown(self.body, piece) if self.body else piece

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise _Refused(413, f"The body is larger than {self._limit} bytes.", "request_too_large")

    def give_back(self) -> None:
        """It is needed no more."""
        self._budget.give_back(self._held)


class _Reply:
    """The `Reply` of one call: what is written waits until the server takes it, and counts until then."""

    def __init__(self, budget: Budget, stalled_s: float) -> None:
        self.listener: Listener | None = None
        self._budget = budget
        self._stalled_s = stalled_s
        self._messages: deque[dict[str, Any]] = deque()
        self._size = 0  # bytes that wait
        self._paused = False
        self._over = False  # nothing more comes
        self._gone = False  # nobody takes it any more
        self._news = asyncio.Event()

    # --- the endpoint's side

    def send(self, status: int, fields: Fields, body: bytes) -> None:
        """See `Reply.send`."""
        self._start(status, b"%bcontent-length: %d\r\n" % (fields, len(body)))
        self._put(body, more=False)

    def start(self, status: int, fields: Fields) -> None:
        """See `Reply.start`."""
        self._start(status, fields)

    def write(self, data: bytes) -> None:
        """See `Reply.write`."""
        if data:
            self._put(data, more=True)

    def finish(self) -> None:
        """See `Reply.finish`."""
        self._put(b"", more=False)

    def abort(self) -> None:
        """See `Reply.abort`: to a server, an application that ends early is one that failed."""
        self.listener = None
        self._drop()
        self._news.set()

    def _start(self, status: int, fields: Fields) -> None:
        headers = [line.split(b": ", 1) for line in fields.split(b"\r\n") if line]
        self._messages.append({"type": "http.response.start", "status": status, "headers": headers})
        self._news.set()

    def _put(self, data: bytes, *, more: bool) -> None:
        if self._gone or self._over:
            return
        self._over = not more
        self._messages.append({"type": "http.response.body", "body": data, "more_body": more})
        self._size += len(data)
        self._budget.count(len(data))
        self._news.set()
        if self._size > PAUSES_AT and not self._paused:
            self._paused = True
            if self.listener is not None:
                self.listener.client_paused()

    # --- the server's side

    async def carry(self, send: Send) -> None:
        """Gives the server what is written, until the reply is over."""
        while not self._gone:
            if not self._messages:
                if self._over:
                    return
                self._resume()
                self._news.clear()
                await self._news.wait()
                continue
            message = self._messages.popleft()
            try:
                async with asyncio.timeout(self._stalled_s):
                    await send(message)
            except TimeoutError:  # the client takes nothing; a server ends what its application left undone
                return
            self._took(len(message.get("body", b"")))

    def _took(self, size: int) -> None:
        if not self._gone:
            self._size -= size
            self._budget.give_back(size)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if self.listener is not None:
                self.listener.client_resumed()

    async def watch(self, receive: Receive) -> None:
        """Waits for the client to leave, and tells whoever answers."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone()

    def gone(self) -> None:
        """Nobody takes any more of it: the client left, or has it all."""
        listener, self.listener = self.listener, None
        finished = self._over and not self._messages
        self._drop()
        self._news.set()
        if listener is not None and not finished:
            listener.client_gone()

    def _drop(self) -> None:
        self._gone = True
        self._messages.clear()
        self._budget.give_back(self._size)
        self._size = 0
