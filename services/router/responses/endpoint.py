"""`POST /v1/responses` before the hot path of chats: requests are translated on the way in, answers out."""

import msgspec

from events.requests import CHAT
from events.words import ApiKey, Refusal, server_problem
from functions.request.admission import admit
from functions.request.endpoints import Endpoint
from services.front.call import Call, Listener, Reply
from services.router.chat import Chat
from services.responses.stream import ResponseStream
from services.responses.told import Response, response_of
from services.responses.translation import translate
from services.wire.errors import error_body, error_fields
from services.wire.fields import Fields
from services.wire.ids import request_id

AS_CHATS = Endpoint(path=CHAT, admit=admit, prompt="input", cached=True)


class Responses(Chat):
    """A chat whose calls and replies have another form."""

    def _serve(self, key: ApiKey | Refusal, call: Call, reply: Reply) -> None:
        if isinstance(key, Refusal):
            self._refuse(key, reply)
            return
        name = "resp_" + request_id().partition("_")[2]
        asked = translate(call.body, id=name, created_at=int(self._gate.now().timestamp()))
        if isinstance(asked, Refusal):
            self._refuse(asked, reply)
            return
        chat = Call(call.method, call.target, call.headers, asked.body, call.version, call.keep_alive)
        super()._serve(key, chat, ResponseReply(reply, asked.response))


class ResponseReply:
    """The reply to a chat, told as a response. Errors pass as they are: their envelope is the same."""

    def __init__(self, reply: Reply, response: Response) -> None:
        self._reply = reply
        self._response = response
        self._stream = ResponseStream(response)

    @property
    def listener(self) -> Listener | None:
        """See `Reply`."""
        return self._reply.listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self._reply.listener = listener

    def send(self, status: int, fields: Fields, body: bytes) -> None:
        """See `Reply`."""
        if status == 200:
            try:
                body = msgspec.json.encode(response_of(self._response, body))
            except ValueError:
                problem = server_problem("The engine's answer is no chat completion.", "engine_error")
                refusal = Refusal(status=502, problem=problem)
                status, fields, body = 502, fields + error_fields(refusal), error_body(problem)
        self._reply.send(status, fields, body)

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
