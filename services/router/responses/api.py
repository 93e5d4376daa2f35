"""`/v1/responses` beside the hot path: responses in the background, and all that are kept."""

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from events.requests import RESPONSES, RequestDocument
from events.words import ApiKey, Problem, Refusal
from functions.request.mistakes import clipped, quoted
from services.requests.waiters import Waiters
from services.responses.items import items_of, page_of
from services.responses.names import response_id
from services.router.api import answer, keyed, raw, refuse, submit
from services.router.gate import Gate
from services.router.idempotency.queued import QueuedOnce
from services.router.responses.kept import KeptResponses
from services.router.responses.tail import Tail
from services.wire.ids import request_id

NOT_STREAMED = Refusal(
    status=400,
    problem=Problem(
        message="The events of this response were not kept: create it with background and stream.",
        param="stream",
        code="invalid_value",
    ),
)
NOT_IN_BACKGROUND = Refusal(
    status=400,
    problem=Problem(
        message="This response was answered at once; only those in the background can be cancelled.",
        param="response_id",
        code="response_not_in_background",
    ),
)
TRUTHS = {"true": True, "false": False}


class ResponsesApi:
    """What official clients call `responses.create(background=True)`, `retrieve`, `cancel`, `delete`."""

    def __init__(self, gate: Gate, kept: KeptResponses, once: QueuedOnce, waiters: Waiters) -> None:
        self._gate = gate
        self._kept = kept
        self._once = once
        self._waiters = waiters

    def routes(self) -> list[BaseRoute]:
        """Where everything is. The first is reached through the hot path only, which answers all others."""
        one = RESPONSES + "/{name}"
        return [
            Route(RESPONSES, keyed(self._gate, self.begin), methods=["POST"]),
            Route(one, keyed(self._gate, self.one), methods=["GET", "DELETE"]),
            Route(one + "/cancel", keyed(self._gate, self.cancel), methods=["POST"]),
            Route(one + "/input_items", keyed(self._gate, self.items), methods=["GET"]),
        ]

    async def begin(self, request: Request, key: ApiKey) -> Response:
        """`POST /v1/responses` with `background`: queued when it answers."""
        taken, told = await submit(self._once, request, key)
        if isinstance(taken, Refusal):
            return refuse(taken)
        answered = await (self._tail(taken, -1) if taken.streamed else self._whole(taken))
        answered.headers.update(told)
        return answered

    async def one(self, request: Request, key: ApiKey) -> Response:
        """One route, so that a refused method is told all that there are."""
        return await (self.delete if request.method == "DELETE" else self.read)(request, key)

    async def read(self, request: Request, key: ApiKey) -> Response:
        """`GET /v1/responses/{id}?stream=true&starting_after=5`."""
        name, asked = request.path_params["name"], request.query_params
        stream, told = _truth(asked.get("stream", "false")), _number(asked.get("starting_after"))
        for refusal in (stream, told):
            if isinstance(refusal, Refusal):
                return refuse(refusal)
        document = await self._kept.find(key.tenant, name)
        if document is None:
            return refuse(no_such(name))
        if not stream:
            return await self._whole(document)
        assert isinstance(told, int)
        return await self._tail(document, told) if document.streamed else refuse(NOT_STREAMED)

    async def cancel(self, request: Request, key: ApiKey) -> Response:
        """`POST /v1/responses/{id}/cancel`."""
        name = request.path_params["name"]
        document = await self._kept.find(key.tenant, name)
        if document is not None and not document.attempts and document.state == "completed":
            return refuse(NOT_IN_BACKGROUND)
        cancelled = await self._kept.cancel(key.tenant, name)
        return refuse(no_such(name)) if cancelled is None else await self._whole(cancelled)

    async def delete(self, request: Request, key: ApiKey) -> Response:
        """`DELETE /v1/responses/{id}`."""
        name = request.path_params["name"]
        if not await self._kept.delete(key.tenant, name):
            return refuse(no_such(name))
        return answer({"id": name, "object": "response", "deleted": True})

    async def items(self, request: Request, key: ApiKey) -> Response:
        """`GET /v1/responses/{id}/input_items?limit=20&order=desc&after=in_...`."""
        name, query = request.path_params["name"], request.query_params
        document = await self._kept.find(key.tenant, name)
        asked = await self._kept.asked(document) if document is not None else None
        if asked is None:
            return refuse(no_such(name))
        items = items_of(asked[0], name)
        page = page_of(items, query.get("limit", "20"), query.get("order", "desc"), query.get("after", ""))
        return refuse(page) if isinstance(page, Refusal) else answer(page)

    async def _whole(self, document: RequestDocument) -> Response:
        body = await self._kept.resource(document)
        return refuse(no_such(response_id(document.id))) if body is None else raw(body)

    async def _tail(self, document: RequestDocument, told: int) -> Response:
        tail = Tail(self._kept, self._waiters, document, told)
        refusal = await tail.begin()
        if refusal is not None:
            return refuse(refusal)
        headers = {"x-request-id": request_id(), "cache-control": "no-cache"}
        return StreamingResponse(tail.events(), headers=headers, media_type="text/event-stream")


def no_such(name: str) -> Refusal:
    """The refusal of an id that is no response's, no more, or another tenant's."""
    message = f"There is no response {clipped(name)}."
    problem = Problem(message=message, code="response_not_found", param="response_id")
    return Refusal(status=404, problem=problem)


def _truth(text: str) -> bool | Refusal:
    found = TRUTHS.get(text.lower())
    return _invalid("stream", text, "true or false") if found is None else found


def _number(text: str | None) -> int | Refusal:
    """The number of an event; -1 where none is given."""
    if text is None:
        return -1
    if text.isascii() and text.isdecimal() and len(text) < 16:  # what every store can compare
        return int(text)
    return _invalid("starting_after", text, "the sequence_number of an event")


def _invalid(param: str, text: str, what: str) -> Refusal:
    problem = Problem(message=f"{param} is {quoted(text)}; give {what}.", code="invalid_value", param=param)
    return Refusal(status=400, problem=problem)
