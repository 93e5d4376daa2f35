"""What the document says beyond the structs that bodies are read into: what is refused by value, and what
engines ask of the fields that pass unread. `tests/conformance` has it judged.
"""

from typing import Any

from functions.request.endpoints import ENDPOINTS
from functions.request.idempotency import HEADER
from functions.routing.cold import WISHES
from services.responses.asked import ENCRYPTED
from services.responses.items import LIMITS
from services.router.described import QueuedChat, QueuedCompletion, QueuedEmbeddings

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_SOME: Schema = {"type": "string", "minLength": 1}
_PARAMETERS: Schema = {"type": ["object", "null"]}
_NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_MAYBE_TEXT: Schema = {"type": ["string", "null"]}
_MAYBE_BOOL: Schema = {"type": ["boolean", "null"]}
_NEVER_SET: Schema = {"enum": [False, None]}
_NO_MEMORY: Schema = {"maxLength": 0, "maxProperties": 0}  # an empty one says nothing
_SEVERAL: Schema = {
    "type": "array",
    "minItems": 1,
    "items": {"anyOf": [{"type": ["string", "integer"]}, {"type": "array", "items": {"type": "integer"}}]},
}
_IDS: Schema = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}

_DEADLINES: list[Schema] = [
    {"type": "number", "exclusiveMinimum": 0, "maximum": 604_800},
    {"type": "string", "format": "date-time"},
]
QUEUED = (QueuedChat, QueuedCompletion, QueuedEmbeddings)

PARAMETERS: dict[str, Schema] = {
    "wait": {"type": "number", "minimum": 0, "maximum": 60},
    "x-penstock-lane": {"type": "string", "enum": ["interactive", "batch"]},
    "x-penstock-deadline": {"anyOf": _DEADLINES},
    "x-penstock-answer": {"type": "string", "enum": ["topic"]},
    "x-penstock-cold": {"type": "string", "enum": [*WISHES]},
    HEADER: {"type": "string", "pattern": "^[!-+--~]([ -+--~]{0,253}[!-+--~])?$"},
    "stream": {"type": "boolean"},
    "starting_after": {"type": "integer", "minimum": 0, "maximum": 10**15 - 1},
    "limit": {"type": "integer", "minimum": LIMITS[0], "maximum": LIMITS[1], "default": 20},
    "order": {"type": "string", "enum": ["asc", "desc"], "default": "desc"},
}


def _object(required: str, **properties: Schema) -> Schema:
    return {"type": "object", "required": required.split(), "properties": properties}


def _tagged(kind: str, required: str = "", **properties: Schema) -> Schema:
    return _object(f"type {required}", type={"const": kind}, **properties)


def _prompt(text: Schema, most: int) -> Schema:
    several = {"type": "array", "minItems": 1, "maxItems": most, "items": {"anyOf": [text, _IDS]}}
    return {"anyOf": [text, _IDS, several]}


_FUNCTION = _object(
    "name",
    name=_NAME,
    description=_MAYBE_TEXT,
    parameters=_PARAMETERS,
    strict=_MAYBE_BOOL,
)
_IMAGE = {"type": "string", "pattern": "^(https?://|data:image/)"}
_CHAT_PART: Schema = {
    "anyOf": [
        _tagged("text", "text", text=_TEXT),
        _tagged("image_url", "image_url", image_url=_object("url", url=_IMAGE)),
    ]
}
_FORM: Schema = {
    "anyOf": [
        _tagged("text"),
        _tagged("json_object"),
        _tagged("json_schema", "name schema", name=_TEXT, schema={"type": "object"}, strict=_MAYBE_BOOL),
        {"type": "null"},
    ]
}
_PARTS: Schema = {
    "type": "array",
    "items": {
        "anyOf": [
            _tagged("input_text", "text", text=_TEXT),
            _tagged("output_text", "text", text=_TEXT),
            _tagged("refusal", "refusal", refusal=_TEXT),
            _tagged("input_image", "image_url", image_url=_IMAGE),
        ]
    },
}
_ITEM: Schema = {
    "anyOf": [
        _object(
            "role content",
            type={"const": "message"},
            role={"enum": ["user", "assistant", "system", "developer"]},
            content={"anyOf": [_TEXT, _PARTS]},
        ),
        _tagged("function_call", "call_id name", call_id=_SOME, name=_SOME, arguments=_TEXT),
        _tagged(
            "function_call_output",
            "call_id",
            call_id=_SOME,
            output={"anyOf": [_TEXT, _PARTS, {"type": "null"}]},
        ),
        _tagged("reasoning"),
    ]
}
_NO_TURNS = {"previous_response_id": _NO_MEMORY, "conversation": _NO_MEMORY}
_STATELESS = {"store": _NEVER_SET, **_NO_TURNS}

# By struct and field: what is said of the field, too; with `anyOf`, in place of what the struct says.
FIELDS: dict[str, dict[str, Schema]] = {
    "ChatBody": {
        "messages": {"minItems": 1},
        "tools": {
            "type": ["array", "null"],
            "items": _tagged("function", "function", function=_FUNCTION),
        },
        "response_format": {
            "anyOf": [
                {"type": "null"},
                _tagged("text"),
                _tagged("json_object"),
                _tagged("json_schema", "json_schema", json_schema=_object("", schema={"type": "object"})),
            ]
        },
        "user": _MAYBE_TEXT,
        **_STATELESS,
    },
    "ChatMessage": {
        "role": {"enum": ["system", "developer", "user", "assistant", "tool", "function"]},
        "content": {"anyOf": [_TEXT, {"type": "array", "items": _CHAT_PART}, {"type": "null"}]},
    },
    "QueuedChat": {"messages": {"minItems": 1}, "stream": _NEVER_SET, **_STATELESS},
    "QueuedCompletion": {"prompt": {"anyOf": [_TEXT, _SEVERAL]}, "stream": _NEVER_SET},
    "QueuedEmbeddings": {"input": {"anyOf": [_TEXT, _SEVERAL]}},
    "CompletionBody": {"prompt": _prompt(_TEXT, 128)},
    "EmbeddingBody": {"input": _prompt(_SOME, 2048)},
    "Envelope": {
        "url": {"enum": [*ENDPOINTS]},
        "body": {"anyOf": [{"$ref": f"#/components/schemas/{body.__name__}"} for body in QUEUED]},
        "method": {"const": "POST"},
        "lane": {"enum": ["interactive", "batch", None]},
        "deadline": {"anyOf": [*_DEADLINES, {"type": "null"}]},
        "custom_id": {"maxLength": 64},
        "answer": {"enum": ["topic", None]},
    },
    "ResponseBody": {
        "input": {"anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": _ITEM}]},
        "tools": {
            "anyOf": [
                {
                    "type": "array",
                    "items": _tagged(
                        "function",
                        "name",
                        name=_NAME,
                        description=_MAYBE_TEXT,
                        parameters=_PARAMETERS,
                        strict=_MAYBE_BOOL,
                    ),
                },
                {"type": "null"},
            ]
        },
        "tool_choice": {
            "anyOf": [{"enum": ["auto", "none", "required", None]}, _tagged("function", "name", name=_NAME)]
        },
        "text": {
            "anyOf": [_object("", format=_FORM, verbosity=_MAYBE_TEXT), {"type": "null"}],
        },
        "max_output_tokens": {"minimum": 1},
        "temperature": {"minimum": 0, "maximum": 2},
        "top_p": {"minimum": 0, "maximum": 1},
        "presence_penalty": {"minimum": -2, "maximum": 2},
        "frequency_penalty": {"minimum": -2, "maximum": 2},
        "truncation": {"enum": ["auto", "disabled", None]},
        "include": {
            "anyOf": [{"type": "array", "items": {"const": ENCRYPTED}}, {"type": "null"}],
        },
        **_NO_TURNS,
        "prompt": {"enum": [None]},
        "top_logprobs": {"enum": [0, None]},
    },
}


def refined(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """The schemas of structs, by name, with all that is said of them here."""
    return {name: _refined(schema, FIELDS.get(name, {})) for name, schema in schemas.items()}


def _refined(schema: Schema, fields: dict[str, Schema]) -> Schema:
    told = dict(schema.get("properties", {}))
    for name, more in fields.items():
        before = {key: value for key, value in told[name].items() if key != "default"}
        told[name] = more if "anyOf" in more else before | more
    return schema | {"properties": told} if fields else schema
