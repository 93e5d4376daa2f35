"""What a caller wishes while its model is cold: read, checked, and done where that is to be queued."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from events.config import Config, Place, WhenCold
from events.requests import RequestDocument
from events.words import ApiKey, PenstockError, Problem, Refusal
from functions.request.admission import Admitted
from functions.request.endpoints import Endpoint
from functions.request.mistakes import clipped, quoted
from functions.request.submission import Options
from functions.routing.cold import HEADER, Wish, cold_refusal, no_wish, wish_for, wish_of
from services.front.call import Call, Reply
from services.router.api import options_of, refusal_of_error
from services.router.cache import Presence
from services.router.cold.room import ColdRoom
from services.router.way import Patience
from services.wire.errors import FAILED, error_body, error_fields
from services.wire.fields import JSON, field
from services.wire.ids import request_id

NAME = HEADER.encode()

log = logging.getLogger("penstock.router")


class Queue(Protocol):
    """Takes requests to be answered later."""

    async def submit(
        self, key: ApiKey, body: bytes, options: Options, traceparent: str
    ) -> RequestDocument | Refusal:
        """When this returns a document, it is stored and will run."""

    async def resource(self, document: RequestDocument) -> bytes:
        """The JSON a caller reads."""


class ColdDoor:
    """`usual`: what holds for a request that wishes nothing, of a model that says nothing."""

    def __init__(
        self,
        room: ColdRoom,
        config: Callable[[], Config],
        queue: Queue | None = None,
        usual: WhenCold = "fail",
    ) -> None:
        self._room = room
        self._config = config
        self._queue = queue
        self._usual = usual
        self._submitting: set[asyncio.Task[None]] = set()
        self._read: Config | None = None
        self._wishes: dict[str, Wish] = {}  # by the name of a model, alias or task

    def judge(self, told: bytes, admitted: Admitted, endpoint: Endpoint) -> Refusal | None:
        """Why a wish cannot be heard, whether the model is cold or not."""
        text = told.decode("latin-1")
        wish = wish_of(text)
        if wish is None:
            return no_wish(quoted(text))
        if wish != "queue":
            return None
        if admitted.stream:
            return _unsuited("a queued request cannot stream: leave stream out, or wish to hold")
        queued = endpoint.queued and self._queue is not None
        return None if queued else _unsuited("what is asked here cannot be queued: wish to hold")

    def patience(
        self, key: ApiKey, admitted: Admitted, call: Call, reply: Reply, places: Sequence[Place], url: str
    ) -> Patience | None:
        """What the way has to heed; None where whoever can may answer."""
        told = call.headers.get(NAME)
        wish = self._wish_for(admitted.model) if told is None else wish_of(told.decode("latin-1"))
        if wish == "fallback":
            return None
        first = {place.model for place in self._config().plans[admitted.model].tiers[0]}
        own = tuple(place for place in places if place.model in first)
        if not own or (wish == "fail" and len(own) == len(places)):
            return None
        enqueue = None
        if wish == "queue" and self._queue is not None:
            enqueue = partial(self._enqueue, self._queue, key, call, reply, url)
        return Patience(own=own, hold=wish == "hold", enqueue=enqueue)

    def _wish_for(self, name: str) -> Wish:
        """Known from the last request, nearly always."""
        config = self._config()
        if config is not self._read:
            self._read, self._wishes = config, {}
        wish = self._wishes.get(name)
        if wish is None:
            model = config.resolved(name)
            wish = wish_for(None if model is None else config.models[model], self._usual)
            if wish == "fail" and len(config.plans[name].tiers) == 1:
                wish = "fallback"  # there is none, so it is the same
            self._wishes[name] = wish
        return wish

    def refusal(self, model: str, places: Sequence[Place]) -> Refusal:
        """Where no place has an engine."""
        backends = {place.backend for place in places}
        return cold_refusal(clipped(model), min(map(self._room.left_s, backends)))

    # --- queueing

    def _enqueue(self, queue: Queue, key: ApiKey, call: Call, reply: Reply, url: str) -> None:
        task = asyncio.get_running_loop().create_task(_submit(queue, key, call, reply, url))
        self._submitting.add(task)
        task.add_done_callback(self._submitting.discard)


async def _submit(queue: Queue, key: ApiKey, call: Call, reply: Reply, url: str) -> None:
    """As `POST /v1/requests` does. Who leaves meanwhile finds the request among theirs."""
    presence = reply.listener = Presence()
    try:
        taken = await _take(queue, key, call, url)
    except PenstockError as error:
        taken = refusal_of_error(error)
    except Exception:
        log.exception("a request could not be queued")
        taken = FAILED
    if presence.gone:
        return
    told = field("x-request-id", request_id())
    if isinstance(taken, Refusal):
        reply.send(taken.status, told + error_fields(taken), error_body(taken.problem))
    else:
        name, body = taken
        reply.send(202, told + JSON + field("location", f"/v1/requests/{name}"), body)


async def _take(queue: Queue, key: ApiKey, call: Call, url: str) -> tuple[str, bytes] | Refusal:
    header = partial(_header, call)
    options = options_of(header)
    if isinstance(options, Refusal):
        return options
    body = b'{"url":"%b","body":%b}' % (url.encode(), call.body)
    taken = await queue.submit(key, body, options, header("traceparent") or "")
    return taken if isinstance(taken, Refusal) else (taken.id, await queue.resource(taken))


def _header(call: Call, name: str) -> str | None:
    value = call.headers.get(name.encode())
    return None if value is None else value.decode("latin-1")


def _unsuited(why: str) -> Refusal:
    problem = Problem(message=f"{HEADER} is queue, but {why}.", code="invalid_value", param=HEADER)
    return Refusal(status=400, problem=problem)
