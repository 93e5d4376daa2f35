"""A thin bridge: any ASGI application answers calls of the front."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from services.front.call import Call, Reply
from services.front.front import Refusals
from services.wire.fields import Fields

Message = MutableMapping[str, Any]  # ASGI's own shape
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

log = logging.getLogger("penstock.front")


class AsgiBridge:
    """An endpoint made of an ASGI application; each call runs as a task of its own."""

    def __init__(self, app: App, *, render_refusal: Refusals) -> None:
        self._app = app
        self._render_refusal = render_refusal
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, call: Call, reply: Reply) -> None:
        """Answers one call."""
        exchange = reply.listener = _Exchange(call, reply)
        exchange.task = task = asyncio.get_running_loop().create_task(self._run(call, exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, call: Call, exchange: "_Exchange") -> None:
        try:
            await self._app(scope_of(call), exchange.receive, exchange.send)
        except asyncio.CancelledError:
            message = "This server is shutting down; try again."
            exchange.refuse(503, *self._render_refusal(503, message, "shutting_down"))
            raise
        except Exception:
            log.exception("an endpoint failed: %s %s", call.method.decode(), call.path.decode("latin-1"))
        exchange.break_off()

    async def close(self) -> None:
        """Ends the calls still running; their clients are told."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def scope_of(call: Call) -> Message:
    """The ASGI scope of a call."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": call.version,
        "method": call.method.decode("latin-1"),
        "scheme": "http",
        "path": call.path.decode("latin-1"),
        "raw_path": call.path,
        "query_string": call.query,
        "root_path": "",
        "headers": list(call.headers.items()),
        "client": None,
        "server": None,
    }


class _Exchange:
    """One call's `receive` and `send`; where the client leaves, it cancels the `task` that uses them."""

    task: asyncio.Task[None]

    def __init__(self, call: Call, reply: Reply) -> None:
        self._call = call
        self._reply = reply
        self._unread = True
        self._writable = asyncio.Event()
        self._writable.set()
        self._status = 0
        self._fields = b""
        self._started = False
        self._ended = False

    def client_gone(self) -> None:
        """See `Listener`."""
        self._ended = True
        self.task.cancel()

    def client_paused(self) -> None:
        """See `Listener`."""
        self._writable.clear()

    def client_resumed(self) -> None:
        """See `Listener`."""
        self._writable.set()

    async def receive(self) -> Message:
        """ASGI's receive: the whole body at once, then nothing: a client that leaves ends it all."""
        if self._unread:
            self._unread = False
            return {"type": "http.request", "body": self._call.body, "more_body": False}
        never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        return await never

    async def send(self, message: Message) -> None:
        """ASGI's send: a reply known whole goes out with its length, else in chunks."""
        if self._ended:
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._fields = b"".join(
                b"%b: %b\r\n" % (name, value)
                for name, value in message.get("headers", ())
                if name.lower() not in (b"content-length", b"transfer-encoding", b"connection", b"date")
            )
            return
        await self._body(message.get("body", b""), more=message.get("more_body", False))

    async def _body(self, data: bytes, *, more: bool) -> None:
        if not self._started and not more:
            self._ended = True
            self._reply.send(self._status, self._fields, data)
            return
        if not self._started:
            self._started = True
            self._reply.start(self._status, self._fields)
        self._reply.write(data)
        if more:
            await self._writable.wait()
        else:
            self._ended = True
            self._reply.finish()

    def refuse(self, status: int, fields: Fields, body: bytes) -> None:
        """Says why there is no reply, where none has begun; else breaks it off."""
        if self._started:
            self.break_off()
        elif not self._ended:
            self._ended = True
            self._reply.send(status, fields, body)

    def break_off(self) -> None:
        """Lets the client tell that there is no whole reply, where there is none."""
        if not self._ended:
            self._ended = True
            self._reply.abort()
