"""`POST /v1/responses` before the hot path of chats: requests are translated on the way in, answers out."""

import asyncio
from collections.abc import Coroutine
from functools import partial

from events.words import ApiKey, Refusal
from services.front.call import Call, Endpoint, Reply
from services.responses.asked import wants_background
from services.responses.names import response_id
from services.responses.translation import AS_CHATS, Asked, translate
from services.router.chat import Chat, Ports
from services.router.responses.kept import KeptResponses
from services.router.responses.reply import ResponseReply, StoredReply
from services.wire.ids import request_id


class Responses(Chat):
    """A chat whose calls and replies have another form. `background`: what answers where it is not to be
    answered at once.
    """

    def __init__(self, ports: Ports, kept: KeptResponses, background: Endpoint) -> None:
        super().__init__(ports, AS_CHATS)
        self._kept = kept
        self._background = background
        self._keeping: set[asyncio.Task[None]] = set()

    def _serve_once(self, key: ApiKey, call: Call, reply: Reply) -> None:
        """What is made in the background is queued once; nothing has to run on here for that."""
        enter = self._serve if wants_background(call.body) else super()._serve_once
        enter(key, call, reply)

    def _serve(self, key: ApiKey, call: Call, reply: Reply) -> None:
        name = response_id(request_id())
        asked = translate(call.body, id=name, created_at=self._now())
        if isinstance(asked, Refusal):
            self._refuse(asked, reply)
            return
        if asked.response.store:
            told = self._stored(key, asked, call, reply)
            if told is None:
                return
        else:
            told = ResponseReply(reply, asked.response, self._now)
        chat = Call(call.method, call.target, call.headers, asked.body, call.version, call.keep_alive)
        chat.watched, chat.later = call.watched, call.later
        super()._serve(key, chat, told)

    def _stored(self, key: ApiKey, asked: Asked, call: Call, reply: Reply) -> ResponseReply | None:
        """The reply to what is to be kept; None where it is answered, or refused, already."""
        if asked.response.background:
            self._background(call, reply)
            return None
        if refusal := self._kept.refuse_large(call.body):
            self._refuse(refusal, reply)
            return None
        keep = partial(self._kept.keep, key, call.body)
        return StoredReply(reply, asked.response, self._now, keep, self._run)

    def _now(self) -> int:
        return int(self._gate.now().timestamp())

    def _run(self, keeping: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(keeping)
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
