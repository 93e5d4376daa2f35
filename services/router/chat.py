"""The endpoints of engines: the hot path, plain functions over bytes and structs."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from events.config import Config, Place
from events.words import ApiKey, Problem, Refusal, Unavailable, server_problem
from functions.request.admission import Admitted
from functions.request.endpoints import CHATS, Endpoint
from functions.request.mistakes import clipped
from functions.request.prefix import of_name
from functions.routing.cold import cold_refusal
from functions.routing.explained import by, route_item
from services.front.call import Call, Reply
from services.guarding.guard import Allowed, Prompt, Watching
from services.pool.pool import Pool
from services.pool.wire import for_engine
from services.router.cache import AnswerCache, Presence
from services.router.cold.door import NAME as COLD
from services.router.cold.door import ColdDoor
from services.router.exchanges import Exchanges
from services.router.gate import Gate, token_of
from services.router.idempotency.runs import Runs
from services.router.order import REHEARSAL, Order
from services.router.routes import Routes
from services.router.screen import Screen
from services.router.tape import Tape
from services.router.way import Way
from services.wire.errors import FAILED, error_body, error_fields
from services.wire.fields import Fields, field
from services.wire.ids import request_id

KEY = b"idempotency-key"
CONVERSATION = b"x-penstock-conversation"  # names what is to stay at one replica
JSON = (b"application/json", None)  # as nearly all clients say it

log = logging.getLogger("penstock.router")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What endpoints of engines share. Without one of the last four nobody can ask for what it does."""

    gate: Gate
    config: Callable[[], Config]
    pool: Callable[[], Pool]
    routes: Routes
    exchanges: Exchanges
    cache: AnswerCache | None = None
    runs: Runs | None = None
    door: ColdDoor | None = None
    screen: Screen | None = None


class Chat:
    """One endpoint: authenticates, admits, routes, and leaves the rest to an exchange."""

    def __init__(self, ports: Ports, endpoint: Endpoint = CHATS) -> None:
        self._endpoint = endpoint
        self._path = endpoint.path
        self._admit = endpoint.admit
        self._gate = ports.gate
        self._config = ports.config
        self._pool = ports.pool
        self._routes = ports.routes
        self._exchanges = ports.exchanges
        self._cache = ports.cache
        self._runs = ports.runs
        self._door = ports.door
        self._screen = ports.screen
        self._told: dict[tuple[str, str, str], Fields] = {}  # by name, model and backend
        self._told_of: Config | None = None
        self._fetching: set[asyncio.Task[None]] = set()

    def __call__(self, call: Call, reply: Reply) -> None:
        """Answers one call."""
        headers = call.headers
        if call.method != b"POST" or headers.get(b"content-type") not in JSON:
            refusal = check_head(call)
            if refusal is not None:
                self._refuse(refusal, reply)
                return
        token = token_of(headers.get(b"authorization", b""))
        key = self._gate.ring.find(token)
        if key is not None or not token:
            self._enter(self._gate.judge(token, key), call, reply)
        else:
            task = asyncio.get_running_loop().create_task(self._fetch(token, call, reply))
            self._fetching.add(task)
            task.add_done_callback(self._fetching.discard)

    async def _fetch(self, token: str, call: Call, reply: Reply) -> None:
        """The first call with a key waits for the store; its client may leave meanwhile."""
        presence = reply.listener = Presence()
        try:
            verdict = await self._read(token)
            if not presence.gone:
                self._enter(verdict, call, reply)
        except Exception:
            log.exception("a call cannot go on behind its key")
            if not presence.gone:
                self._refuse(FAILED, reply)

    async def _read(self, token: str) -> ApiKey | Refusal:
        try:
            return self._gate.judge(token, await self._gate.ring.fetch(token))
        except Unavailable:
            problem = server_problem("API keys cannot be checked right now; try again.", "keys_unavailable")
            return Refusal(status=503, problem=problem, retry_after_s=1)

    def _enter(self, key: ApiKey | Refusal, call: Call, reply: Reply) -> None:
        if isinstance(key, Refusal):
            self._refuse(key, reply)
            return
        if call.watched is not None:
            call.watched.asked_by(key)
        if KEY in call.headers:
            self._serve_once(key, call, reply)
        else:
            self._serve(key, call, reply)

    def _serve_once(self, key: ApiKey, call: Call, reply: Reply) -> None:
        """A call that may be retried: answered once."""
        if self._runs is None:
            self._serve(key, call, reply)
        else:
            self._runs.serve(key, call, reply, partial(self._serve, key, call))

    def _serve(self, key: ApiKey, call: Call, reply: Reply) -> None:
        verdict = self._admit(call.body, self._config())
        if isinstance(verdict, Refusal):
            self._refuse(verdict, reply)
            return
        if call.watched is not None:
            call.watched.admitted(verdict, call.body)
        wish = call.headers.get(COLD)
        if wish is not None and self._door is not None:
            refusal = self._door.judge(wish, verdict, self._endpoint)
            if refusal is not None:
                self._refuse(refusal, reply)
                return
        if self._screen is None:
            self._answer(key, verdict, call, reply)
        else:
            prompt = Prompt(tenant=key.tenant, model=verdict.model, endpoint=self._path, body=call.body)
            self._screen.ask(prompt, reply, partial(self._judged, key, verdict, call, reply))

    def _judged(
        self, key: ApiKey, admitted: Admitted, call: Call, reply: Reply, said: Allowed | Refusal
    ) -> None:
        """The guard has read the prompt."""
        if isinstance(said, Refusal):
            self._refuse(said, reply)
        else:
            self._answer(key, admitted, call, reply, said.watch)

    def _answer(
        self, key: ApiKey, admitted: Admitted, call: Call, reply: Reply, watching: Watching | None = None
    ) -> None:
        cache = self._cache
        if cache is not None and key.tenant in cache.on:
            go = partial(self._dispatch, key, admitted, call, reply, watching=watching)
            cache.serve(key, admitted, call, reply, go, kept=self._endpoint.cached)
        else:
            self._dispatch(key, admitted, call, reply, watching=watching)

    def _dispatch(
        self,
        key: ApiKey,
        admitted: Admitted,
        call: Call,
        reply: Reply,
        told: Fields = b"",
        tape: Tape | None = None,
        watching: Watching | None = None,
    ) -> None:
        places = self._routes.places(admitted, key.tenant)
        if isinstance(places, Refusal):
            self._refuse(places, reply)
            return
        # Another configuration may come before the last attempt, and lack a place it is to go to.
        ordered = partial(self._order, self._config(), request_id(), key, admitted, call, told)
        door, prefix = self._door, admitted.prefix
        if prefix and CONVERSATION in call.headers:
            prefix = of_name(call.headers[CONVERSATION])
        patience = None if door is None else door.patience(key, admitted, call, reply, places, self._path)
        way = Way(self._pool(), places, ordered, prefix, patience)
        if way.begin():
            self._exchanges.begin(way, reply, tape, call.watched, watching)
        else:
            self._no_engine(way, admitted, places, call, reply, tape, watching)

    def _no_engine(
        self,
        way: Way,
        admitted: Admitted,
        places: Sequence[Place],
        call: Call,
        reply: Reply,
        tape: Tape | None,
        watching: Watching | None,
    ) -> None:
        patience = way.patience
        if patience is not None and patience.hold:
            self._exchanges.hold(way, reply, tape, call.watched, watching)
        elif patience is not None and patience.enqueue is not None:
            patience.enqueue()
        elif self._door is not None:
            own = places if patience is None else patience.own
            self._refuse(self._door.refusal(admitted.model, own), reply)
        else:
            self._refuse(cold_refusal(admitted.model, 5), reply)

    def _order(
        self,
        config: Config,
        name: str,
        key: ApiKey,
        admitted: Admitted,
        call: Call,
        told: Fields,
        place: Place,
    ) -> Order:
        """The request as it is done at this place."""
        parent = call.headers.get(b"traceparent")
        reply_fields = b"x-request-id: %b\r\n%b" % (name.encode(), told)
        if config.backends[place.backend].rehearsal:
            reply_fields += REHEARSAL
        return Order(
            request_id=name,
            key=key,
            model=place.model,
            backend=place.backend,
            path=self._path,
            body=for_engine(call.body, admitted, place.served_as),
            stream=admitted.stream,
            wants_usage=admitted.wants_usage,
            input_estimate=admitted.input_estimate,
            fields=b"traceparent: %b\r\n" % parent if parent else b"",
            reply_fields=reply_fields,
            route=self._route_of(config, admitted.model, place),
            deadlines=self._exchanges.deadlines.of(config.models[place.model]),
            later=call.later,
        )

    def _route_of(self, config: Config, name: str, place: Place) -> Fields:
        """The header line that tells the place, without its end."""
        if config is not self._told_of:
            self._told_of, self._told = config, {}
        key = (name, place.model, place.backend)
        route = self._told.get(key)
        if route is None:
            why = by(config.plans.get(name), place)
            route = self._told[key] = field("x-penstock-route", route_item(place, why)).rstrip()
        return route

    def _refuse(self, refusal: Refusal, reply: Reply) -> None:
        refusal = self._endpoint.blame(refusal)
        self._exchanges.metrics.refused(refusal.status, refusal.problem.code or "")
        fields = field("x-request-id", request_id()) + error_fields(refusal)
        if refusal.status == 405:
            fields += b"allow: POST\r\n"
        reply.send(refusal.status, fields, error_body(refusal.problem))


def check_head(call: Call) -> Refusal | None:
    """Refuses what is no JSON POST."""
    if call.method != b"POST":
        problem = Problem(
            message=f"{call.method.decode('latin-1')} is not supported here; use POST.",
            code="method_not_allowed",
        )
        return Refusal(status=405, problem=problem)
    media = call.header(b"content-type")
    if media and media.partition(b";")[0].strip().lower() != b"application/json":
        problem = Problem(
            message=f"The content-type is {clipped(media.decode('latin-1'))}; send application/json.",
            code="unsupported_media_type",
        )
        return Refusal(status=415, problem=problem)
    return None
