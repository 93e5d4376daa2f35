"""The public API as an OpenAPI 3.1 document, made from the structs that bodies are read into."""

import re
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from events.requests import CHAT, RESPONSES
from events.words import Record
from functions.request.admission import ChatBody
from functions.request.endpoints import COMPLETIONS, EMBEDDINGS
from functions.request.prompts import CompletionBody, EmbeddingBody
from functions.request.submission import Envelope
from services.responses.asked import ResponseBody

PATH = "services/router/openapi.json"
PARAMETER = re.compile(r"{(\w+)(:path)?}")

_PASSED = (
    " Further fields of OpenAI's API, and the engine's own, are passed to the engine as they are written."
)


class Operation(Record):
    """What can be called. `bodies`: what one of its JSON body may be. `headers` and `query`: what else may be
    said, and what it means. `answer`: what it answers with. `open`: it needs no key.
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
    media: tuple[str, ...] = ("application/json",)
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
        media=_JSON_OR_EVENTS,
    ),
    Operation(
        method="get",
        path=f"{RESPONSES}/{{name}}",
        summary="Read a response that is kept, or follow one in the background.",
        query={
            "stream": "`true`: its events, where it was made with `background` and `stream`.",
            "starting_after": "The `sequence_number` of the last event you have.",
        },
        answer="The response, or its events.",
        media=_JSON_OR_EVENTS,
    ),
    Operation(
        method="delete",
        path=f"{RESPONSES}/{{name}}",
        summary="Delete a response that is kept; one that is still made is cancelled.",
    ),
    Operation(
        method="post",
        path=f"{RESPONSES}/{{name}}/cancel",
        summary="Cancel a response in the background.",
    ),
    Operation(
        method="get",
        path=f"{RESPONSES}/{{name}}/input_items",
        summary="List the items a kept response was asked with.",
        query={
            "limit": "How many at most, 1 to 100; 20 unless told.",
            "order": "`desc`, the last first, or `asc`.",
            "after": "The id of the item they come behind.",
        },
    ),
    Operation(method="get", path="/v1/models", summary="List the models, aliases and tasks you may name."),
    Operation(
        method="get",
        path="/v1/models/{name:path}",
        summary="Read one model; its id may have slashes.",
    ),
    Operation(
        method="post",
        path="/v1/requests",
        summary="Queue a request, to be answered later.",
        more="A flat body is a chat; an envelope names the endpoint.",
        bodies=(ChatBody, Envelope),
        headers={**_ONCE, **_QUEUED},
        status=202,
        answer="The queued request.",
    ),
    Operation(
        method="get",
        path="/v1/requests/{name}",
        summary="Read a queued request, and its answer once there is one.",
        query={"wait": "Seconds to wait for its end, 0 to 60."},
    ),
    Operation(method="post", path="/v1/requests/{name}/cancel", summary="Cancel a queued request."),
    Operation(method="get", path="/health", summary="Tell whether the process lives.", open=True),
    Operation(
        method="get", path="/ready", summary="Tell whether it can serve, else what is missing.", open=True
    ),
)


def document() -> dict[str, Any]:
    """The document."""
    structs = {struct for operation in OPERATIONS for struct in operation.bodies}
    named = sorted(structs, key=lambda struct: struct.__name__)
    _, schemas = msgspec.json.schema_components(named, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        path = PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method] = _operation(operation)
    return {
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
            "schemas": {name: schemas[name] for name in sorted(schemas)} | {"Error": _error()},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    error = {"description": "OpenAI's error envelope.", "content": _content(["application/json"], "Error")}
    told: dict[str, Any] = {
        "summary": operation.summary,
        **({"description": operation.more} if operation.more else {}),
        "responses": {
            str(operation.status): {
                "description": operation.answer,
                "content": {media: {} for media in operation.media},
            },
            "default": error,
        },
    }
    if parameters := list(_parameters(operation)):
        told["parameters"] = parameters
    if operation.bodies:
        refs = [{"$ref": f"#/components/schemas/{struct.__name__}"} for struct in operation.bodies]
        schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return told | ({"security": []} if operation.open else {})


def _content(media: Iterable[str], name: str) -> dict[str, Any]:
    return {one: {"schema": {"$ref": f"#/components/schemas/{name}"}} for one in media}


def _parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    text = {"type": "string"}
    for name, _ in PARAMETER.findall(operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": text}
    for place, named in (("query", operation.query), ("header", operation.headers)):
        for name, meaning in named.items():
            yield {"name": name, "in": place, "description": meaning, "schema": text}


def _error() -> dict[str, Any]:
    maybe = {"type": ["string", "null"]}
    fields = {"message": {"type": "string"}, "type": {"type": "string"}, "param": maybe, "code": maybe}
    error = {"type": "object", "required": list(fields), "properties": fields}
    return {"type": "object", "required": ["error"], "properties": {"error": error}}
