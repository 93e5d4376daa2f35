"""The reply to a chat, told as a response; where that was asked for, it is kept first."""

import logging
from collections.abc import Awaitable, Callable, Coroutine

import msgspec
from msgspec.structs import replace

from events.words import Invalid, Refusal, Unavailable, server_problem
from services.front.call import Listener, Reply
from services.responses.stream import ResponseStream
from services.responses.told import Response, response_of
from services.wire.errors import error_body, error_fields
from services.wire.fields import Fields

log = logging.getLogger("penstock.responses")


class ResponseReply:
    """The reply to a chat, told as a response. Errors pass as they are: their envelope is the same. `now`:
    seconds since 1970.
    """

    def __init__(
        self, reply: Reply, response: Response, now: Callable[[], int], *, ends: bool = True
    ) -> None:
        self._reply = reply
        self._response = response
        self._now = now
        self._stream = ResponseStream(response, now, ends=ends)

    @property
    def listener(self) -> Listener | None:
        """See `Reply`."""
        return self._reply.listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self._reply.listener = listener

    def send(self, status: int, fields: Fields, body: bytes) -> None:
        """See `Reply`."""
        if status != 200:
            self._reply.send(status, fields, body)
            return
        try:
            response = response_of(self._response, body, self._now())
        except ValueError:
            problem = server_problem("The engine's answer is no chat completion.", "engine_error")
            refusal = Refusal(status=502, problem=problem)
            self._reply.send(502, fields + error_fields(refusal), error_body(problem))
        else:
            self._answer(fields, response)

    def _answer(self, fields: Fields, response: Response) -> None:
        self._reply.send(200, fields, msgspec.json.encode(response))

    def start(self, status: int, fields: Fields) -> None:
        """See `Reply`."""
        self._reply.start(status, fields)
        self._reply.write(self._stream.begin())

    def write(self, data: bytes) -> None:
        """See `Reply`."""
        self._reply.write(self._stream.feed(data))

    def finish(self) -> None:
        """See `Reply`."""
        self._reply.finish()

    def abort(self) -> None:
        """See `Reply`."""
        self._reply.abort()


class StoredReply(ResponseReply):
    """The same, with the whole response told once it is kept. Where it could not be, it is told all the same,
    with `store: false`: its tokens are made and paid for. `run`: has a coroutine run to its end.
    """

    def __init__(
        self,
        reply: Reply,
        response: Response,
        now: Callable[[], int],
        keep: Callable[[Response], Awaitable[None]],
        run: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        super().__init__(reply, response, now, ends=False)
        self._keep = keep
        self._run = run

    def _answer(self, fields: Fields, response: Response) -> None:
        self._run(self._keep_and_send(fields, response))

    async def _keep_and_send(self, fields: Fields, response: Response) -> None:
        super()._answer(fields, await self._kept(response))

    def finish(self) -> None:
        """See `Reply`."""
        if self._stream.over:
            self._run(self._keep_and_finish())
        else:
            super().finish()

    async def _keep_and_finish(self) -> None:
        self._stream.response = await self._kept(self._stream.response)
        self._reply.write(self._stream.end_told())
        super().finish()

    async def _kept(self, response: Response) -> Response:
        if response.status == "failed":
            return replace(response, store=False)
        try:
            await self._keep(response)
        except (Invalid, Unavailable) as error:
            log.warning("%s is not kept: %s", response.id, error)
            return replace(response, store=False)
        return response
