"""The endpoints that are not hot: models, queued requests, health; and errors for all that is not there."""

from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from events.config import Config, Place
from events.requests import RequestDocument
from events.words import (
    ApiKey,
    Conflict,
    Invalid,
    PenstockError,
    Problem,
    Refusal,
    Refused,
    Unavailable,
    server_problem,
)
from functions.request.admission import unknown_model
from functions.request.idempotency import HEADER
from functions.request.mistakes import clipped, quoted
from functions.request.submission import Options
from services.router.gate import Gate
from services.router.idempotency.queued import QueuedOnce
from services.router.queue import RequestQueue
from services.router.routes import Routes
from services.wire.errors import FAILED, error_body, error_fields
from services.wire.ids import request_id

MAX_WAIT_S = 60.0
REPLAYED = {"idempotent-replayed": "true"}
NO_WEBHOOKS = Refusal(
    status=400,
    problem=Problem(
        message="Answers are not sent to a webhook: leave x-penstock-webhook out, and read the answer.",
        code="unknown_parameter",
        param="webhook",
    ),
)

Endpoint = Callable[[Request, ApiKey], Awaitable[Response]]


class PublicApi:
    """`/v1` beside the hot path."""

    def __init__(
        self,
        gate: Gate,
        queue: RequestQueue,
        once: QueuedOnce,
        config: Callable[[], Config],
        started_at: int,
        routes: Routes | None = None,
    ) -> None:
        self._gate = gate
        self._queue = queue
        self._config = config
        self._once = once
        self._started_at = started_at
        self._routes = routes or Routes(config=config)

    def routes(self) -> list[BaseRoute]:
        """Where everything is."""
        return [
            Route("/v1/models", self._keyed(self.models), methods=["GET"]),
            Route("/v1/models/{name:path}", self._keyed(self.model), methods=["GET"]),
            Route("/v1/requests", self._keyed(self.submit), methods=["POST"]),
            Route("/v1/requests/{name}", self._keyed(self.read), methods=["GET"]),
            Route("/v1/requests/{name}/cancel", self._keyed(self.cancel), methods=["POST"]),
        ]

    def _keyed(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        return keyed(self._gate, endpoint)

    async def models(self, request: Request, key: ApiKey) -> Response:
        """`GET /v1/models`: what this caller could be answered by, here and now."""
        rows = [self._model(name, place) for name, place in self._routes.served(key.tenant).items()]
        return answer({"object": "list", "data": rows})

    async def model(self, request: Request, key: ApiKey) -> Response:
        """`GET /v1/models/{id}`."""
        name = unquote(request.path_params["name"])
        if name not in self._config().plans:
            return refuse(unknown_model(name, self._config()))
        place = self._routes.plainly(name, key.tenant)
        return refuse(place) if isinstance(place, Refusal) else answer(self._model(name, place))

    def _model(self, name: str, place: Place) -> dict[str, str | int | None]:
        row = self._config().models[place.model]
        return {
            "id": name,
            "object": "model",
            "created": self._started_at,
            "owned_by": place.backend,
            **({"max_model_len": row.context} if row.context else {}),
        }

    async def submit(self, request: Request, key: ApiKey) -> Response:
        """`POST /v1/requests`: queued when it answers 202."""
        media = request.headers.get("content-type", "application/json")
        if media.partition(";")[0].strip().lower() != "application/json":
            message = f"The content-type is {clipped(media)}; send application/json."
            problem = Problem(message=message, code="unsupported_media_type")
            return refuse(Refusal(status=415, problem=problem))
        taken, told = await submit(self._once, request, key)
        if isinstance(taken, Refusal):
            return refuse(taken)
        fields = {"location": f"/v1/requests/{taken.id}"} | told
        return raw(await self._queue.resource(taken), 202, fields)

    async def read(self, request: Request, key: ApiKey) -> Response:
        """`GET /v1/requests/{id}?wait=30`."""
        wait_s = _wait(request.query_params.get("wait", "0"))
        if isinstance(wait_s, Refusal):
            return refuse(wait_s)
        name = request.path_params["name"]
        document = await self._queue.read(key.tenant, name, wait_s)
        return refuse(_no_such(name)) if document is None else raw(await self._queue.resource(document))

    async def cancel(self, request: Request, key: ApiKey) -> Response:
        """`POST /v1/requests/{id}/cancel`."""
        name = request.path_params["name"]
        document = await self._queue.cancel(key.tenant, name)
        return refuse(_no_such(name)) if document is None else raw(await self._queue.resource(document))


def keyed(gate: Gate, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint, for those who show a key."""

    async def checked(request: Request) -> Response:
        key = await gate.enter(request.headers.get("authorization", "").encode("latin-1"))
        return refuse(key) if isinstance(key, Refusal) else await endpoint(request, key)

    return checked


def options_of(header: Callable[[str], str | None]) -> Options | Refusal:
    """What is asked for by headers, beside the body of what is to be queued."""
    if header("x-penstock-webhook") is not None:
        return NO_WEBHOOKS
    lane = header("x-penstock-lane")
    return Options(
        lane="interactive" if lane is None else lane,
        deadline=header("x-penstock-deadline"),
        answer=header("x-penstock-answer"),
    )


async def submit(
    once: QueuedOnce, request: Request, key: ApiKey
) -> tuple[RequestDocument | Refusal, dict[str, str]]:
    """Has queued what is asked for, and the headers that tell whether it was before. Raises `Unavailable`."""
    headers, path = request.headers, request.url.path
    options = options_of(headers.get)
    if isinstance(options, Refusal):
        return options, {}
    body, parent = await request.body(), headers.get("traceparent", "")
    taken, replayed = await once.submit(key, headers.get(HEADER), path, body, options, parent)
    return taken, REPLAYED if replayed else {}


def _wait(text: str) -> float | Refusal:
    try:
        wait_s = float(text)
    except ValueError:
        wait_s = -1.0
    if 0 <= wait_s <= MAX_WAIT_S:
        return wait_s
    message = f"wait is {quoted(text)}; give seconds from 0 to {MAX_WAIT_S:g}."
    return Refusal(status=400, problem=Problem(message=message, code="invalid_value", param="wait"))


def _no_such(name: str) -> Refusal:
    problem = Problem(message=f"There is no request {clipped(name)}.", code="request_not_found", param="id")
    return Refusal(status=404, problem=problem)


def answer(content: object, status: int = 200) -> Response:
    """A JSON response."""
    return raw(msgspec.json.encode(content), status)


def raw(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response of JSON bytes."""
    named = {"x-request-id": request_id(), **(headers or {})}
    return Response(body, status, named, media_type="application/json")


def refuse(refusal: Refusal) -> Response:
    """A refusal as a response."""
    lines = error_fields(refusal).decode().strip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return raw(error_body(refusal.problem), refusal.status, headers)


async def on_http_error(request: Request, error: Exception) -> Response:
    """404 and 405 in OpenAI's envelope."""
    assert isinstance(error, HTTPException)
    path = clipped(request.url.path)
    if error.status_code == 405:
        message, code = f"{request.method} is not supported on {path}.", "method_not_allowed"
    else:
        message, code = f"There is nothing at {request.method} {path}.", "not_found"
    response = refuse(Refusal(status=error.status_code, problem=Problem(message=message, code=code)))
    response.headers.update(error.headers or {})
    return response


async def on_penstock_error(request: Request, error: Exception) -> Response:
    """Our four errors, as the statuses they mean."""
    assert isinstance(error, PenstockError)
    return refuse(refusal_of_error(error))


def refusal_of_error(error: PenstockError) -> Refusal:
    """One of our four errors, as it is told to a caller."""
    match error:
        case Invalid():
            return Refusal(status=400, problem=Problem(message=str(error), code="invalid_request"))
        case Conflict():
            return Refusal(status=409, problem=Problem(message=str(error), code="conflict"))
        case Refused():
            problem = Problem(message=str(error), type="rate_limit_error", code="refused")
            return Refusal(status=429, problem=problem, retry_after_s=1)
    return Refusal(status=503, problem=server_problem(f"{error} Try again.", "unavailable"), retry_after_s=1)


async def on_any_error(request: Request, error: Exception) -> Response:
    """A fault of ours. Starlette raises the error again behind this answer, so that it is logged."""
    return refuse(FAILED)


def application(routes: list[BaseRoute]) -> Starlette:
    """The Starlette application behind the hot path; a path with a slash too many is not there."""
    app = Starlette(
        routes=routes,
        exception_handlers={
            HTTPException: on_http_error,
            Invalid: on_penstock_error,
            Conflict: on_penstock_error,
            Refused: on_penstock_error,
            Unavailable: on_penstock_error,
            Exception: on_any_error,
        },
    )
    app.router.redirect_slashes = False
    return app
