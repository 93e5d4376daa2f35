"""The public API as an OpenAPI 3.1 document, made from the structs that bodies are read into."""

import json
import re
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from events.answer import RequestTold
from events.requests import CHAT, RESPONSES
from events.words import Record
from functions.request.admission import ChatBody
from functions.request.endpoints import COMPLETIONS, EMBEDDINGS
from functions.request.prompts import CompletionBody, EmbeddingBody
from functions.request.submission import Envelope
from services.responses.asked import ResponseBody
from services.router import described
from services.router.refined import PARAMETERS, QUEUED, refined

PATH = "services/router/openapi.json"
ONE_RESPONSE, ITEMS = f"{RESPONSES}/{{name}}", f"{RESPONSES}/{{name}}/input_items"
MODELS, MODEL = "/v1/models", "/v1/models/{name:path}"
REQUEST, CANCEL = "/v1/requests/{name}", "/v1/requests/{name}/cancel"
PARAMETER = re.compile(r"{(\w+)(:path)?}")

_PASSED = (
    " Further fields of OpenAI's API, and the engine's own, are passed to the engine as they are written."
)


class Operation(Record):
    """What can be called. `bodies`: what one of its JSON body may be. `headers` and `query`: what else may be
    said, and what it means. `answer`: what it answers with, and `gives` what that is in JSON. `failing`: the
    same of statuses without an error envelope. `links`: a place in its answer that names what other
    operations, by their path, are about. `open`: it needs no key.
    """

    method: Literal["get", "post", "delete"]
    path: str
    summary: str
    more: str = ""
    bodies: tuple[type, ...] = ()
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    status: int = 200
    answer: str = "The resource."
    gives: type | None = None
    media: tuple[str, ...] = ("application/json",)
    failing: dict[int, type] = {}
    links: tuple[str, tuple[str, ...]] | None = None
    open: bool = False


_JSON_OR_EVENTS = ("application/json", "text/event-stream")
_ONCE = {"idempotency-key": "A retry with the same key and body gets the same answer (docs/api.md)."}
_QUEUED = {
    "x-penstock-lane": "`interactive` or `batch`.",
    "x-penstock-deadline": "Seconds from now, or an RFC 3339 time.",
    "x-penstock-answer": "`topic`: the answer is published to the tenant's answers topic, too.",
}
_IN_BACKGROUND = {name: f"{told} Only with `background`." for name, told in _QUEUED.items()}
_ROUTED = {
    **_ONCE,
    "x-penstock-cold": "`fail`, `hold`, `queue` or `fallback`, while there is no engine (docs/routing.md).",
    "x-penstock-conversation": "Calls of the same name go to the same replica, while that has room.",
}
_CACHED = _ROUTED | {
    "cache-control": "`no-cache`, `no-store`, `max-age=N`, `only-if-cached` (docs/caching.md)."
}

OPERATIONS = (
    Operation(
        method="post",
        path=CHAT,
        summary="Answer a chat, whole or streamed.",
        more="`store: true`, `previous_response_id` and `conversation` are refused." + _PASSED,
        bodies=(ChatBody,),
        headers=_CACHED,
        answer="A chat completion, or with `stream` its chunks as server-sent events.",
        gives=described.ChatCompletion,
        media=_JSON_OR_EVENTS,
    ),
    Operation(
        method="post",
        path=COMPLETIONS,
        summary="Complete a plain text, whole or streamed.",
        more="A prompt is a text, token ids, or a list of either." + _PASSED,
        bodies=(CompletionBody,),
        headers=_ROUTED,
        answer="A text completion, or with `stream` its chunks as server-sent events.",
        gives=described.Completion,
        media=_JSON_OR_EVENTS,
    ),
    Operation(
        method="post",
        path=EMBEDDINGS,
        summary="Embed texts.",
        more="An input is a text, token ids, or a list of either." + _PASSED,
        bodies=(EmbeddingBody,),
        headers=_ROUTED,
        answer="A list of embeddings.",
        gives=described.Embeddings,
    ),
    Operation(
        method="post",
        path=RESPONSES,
        summary="Answer as OpenAI's Responses do, whole or streamed, at once or in the background.",
        more="Nothing is kept but with `store` or `background`. Tools are functions; `previous_response_id`, "
        "`conversation`, `prompt` and tools of other types are refused with their `param`." + _PASSED,
        bodies=(ResponseBody,),
        headers=_CACHED | _IN_BACKGROUND,
        answer="A response, or with `stream` its events as server-sent events.",
        gives=described.ResponseObject,
        media=_JSON_OR_EVENTS,
        links=("/id", (ONE_RESPONSE, ITEMS)),
    ),
    Operation(
        method="get",
        path=ONE_RESPONSE,
        summary="Read a response that is kept, or follow one in the background.",
        query={
            "stream": "`true`: its events, where it was made with `background` and `stream`.",
            "starting_after": "The `sequence_number` of the last event you have.",
        },
        answer="The response, or its events.",
        gives=described.ResponseObject,
        media=_JSON_OR_EVENTS,
    ),
    Operation(
        method="delete",
        path=ONE_RESPONSE,
        summary="Delete a response that is kept; one that is still made is cancelled.",
        gives=described.Deleted,
    ),
    Operation(
        method="post",
        path=f"{RESPONSES}/{{name}}/cancel",
        summary="Cancel a response in the background.",
        gives=described.ResponseObject,
    ),
    Operation(
        method="get",
        path=ITEMS,
        summary="List the items a kept response was asked with.",
        query={
            "limit": "How many at most, 1 to 100; 20 unless told.",
            "order": "`desc`, the last first, or `asc`.",
            "after": "The id of the item they come behind.",
        },
        gives=described.InputItems,
    ),
    Operation(
        method="get",
        path=MODELS,
        summary="List the models, aliases and tasks you may name.",
        gives=described.Models,
        links=("/data/0/id", (MODEL,)),
    ),
    Operation(
        method="get", path=MODEL, summary="Read one model; its id may have slashes.", gives=described.Model
    ),
    Operation(
        method="post",
        path="/v1/requests",
        summary="Queue a request, to be answered later.",
        more="A flat body is a chat; an envelope names the endpoint.",
        bodies=(described.QueuedChat, Envelope),
        headers={**_ONCE, **_QUEUED},
        status=202,
        answer="The queued request.",
        gives=RequestTold,
        links=("/id", (REQUEST, CANCEL)),
    ),
    Operation(
        method="get",
        path=REQUEST,
        summary="Read a queued request, and its answer once there is one.",
        query={"wait": "Seconds to wait for its end, 0 to 60."},
        gives=RequestTold,
    ),
    Operation(method="post", path=CANCEL, summary="Cancel a queued request.", gives=RequestTold),
    Operation(
        method="get",
        path="/health",
        summary="Tell whether the process lives.",
        gives=described.Alive,
        open=True,
    ),
    Operation(
        method="get",
        path="/ready",
        summary="Tell whether it can serve, else what is missing.",
        gives=described.Ready,
        failing={503: described.NotReady},
        open=True,
    ),
)


def document() -> dict[str, Any]:
    """The document."""
    _, schemas = msgspec.json.schema_components(_structs(), ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(_path(operation.path), {})[operation.method] = _operation(operation)
    told = {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "version": "v1",
            "description": "What callers use. Operators' endpoints are under `/admin/v1`; the commands of "
            "`penstock` speak to them.",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": refined(dict(sorted(schemas.items()))),
        },
    }
    return _without_unused(told)


def _without_unused(told: dict[str, Any]) -> dict[str, Any]:
    """The document without schemas that nothing leads to: what is told in place of them said more."""
    schemas = told["components"]["schemas"]
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(told)))
    if schemas.keys() <= used:
        return told
    told["components"]["schemas"] = {name: schemas[name] for name in schemas if name in used}
    return _without_unused(told)


def _structs() -> list[type]:
    structs: set[type] = {described.Error, *QUEUED}
    for operation in OPERATIONS:
        structs |= {*operation.bodies, *operation.failing.values()}
        structs |= {operation.gives} if operation.gives else set()
    return sorted(structs, key=lambda struct: struct.__name__)


def _path(path: str) -> str:
    return PARAMETER.sub(r"{\1}", path)


def _operation(operation: Operation) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation_id(operation.method, operation.path),
        "summary": operation.summary,
        **({"description": operation.more} if operation.more else {}),
        "responses": _responses(operation),
    }
    if parameters := list(_parameters(operation)):
        told["parameters"] = parameters
    if operation.bodies:
        refs = [{"$ref": f"#/components/schemas/{struct.__name__}"} for struct in operation.bodies]
        schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return told | ({"security": []} if operation.open else {})


def operation_id(method: str, path: str) -> str:
    """The name of an operation in clients that are made from the document: `post_chat_completions`."""
    return "_".join([method, *re.findall(r"\w+", _path(path).removeprefix("/v1"))])


def _responses(operation: Operation) -> dict[str, Any]:
    good: dict[str, Any] = {
        "description": operation.answer,
        "content": {kind: {} for kind in operation.media},
    }
    if operation.gives is not None:
        good["content"] |= _content(operation.gives)
    if operation.links is not None:
        good["links"] = dict(_links(*operation.links))
    failing = {
        str(status): {"description": _said(struct), "content": _content(struct)}
        for status, struct in operation.failing.items()
    }
    error = {"description": _said(described.Error), "content": _content(described.Error)}
    return {str(operation.status): good, **failing, "default": error}


def _said(struct: type) -> str:
    return (struct.__doc__ or "").partition("\n")[0]


def _content(struct: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{struct.__name__}"}}}


def _links(place: str, paths: Iterable[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    for operation in OPERATIONS:
        if operation.path in paths:
            name = operation_id(operation.method, operation.path)
            yield name, {"operationId": name, "parameters": {"name": f"$response.body#{place}"}}


def _parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    text = {"type": "string"}
    for name, _ in PARAMETER.findall(operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": text}
    for place, named in (("query", operation.query), ("header", operation.headers)):
        for name, meaning in named.items():
            schema = PARAMETERS.get(name, text)
            yield {"name": name, "in": place, "description": meaning, "schema": schema}
