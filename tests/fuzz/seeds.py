"""What fuzzing begins with: whole and broken inputs of every kind, and words to put together."""

import json

import msgspec

from events.envelope import Event, type_of
from events.examples import EXAMPLES
from tests.services.front.smuggling import REFUSED, TAKEN
from tests.support.wire import DONE, chat, completion, delta, problem, request, usage, usage_event

UNCUT = bytes(16)  # before what comes in pieces: how many, and where it is cut
PART = {"type": "image_url", "image_url": {"url": "data:,"}}
CHATS = [
    chat(),
    chat(stream=True, stream_options={"include_usage": True}, tools=[{}], response_format={"type": "text"}),
    json.dumps({"model": "small", "messages": [{"role": "user", "content": [PART, 1]}]}).encode(),
    b'{"model":"gemma","messages":[],"max_completion_tokens":1}',
]
HTTP = [
    b"GET ", b"POST ", b"HEAD ", b"/x", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"host: test\r\n", b"\r\n", b"\n",
    b"content-length: ", b"transfer-encoding: ", b"chunked\r\n", b"identity", b"3\r\n", b"abc", b"0\r\n\r\n",
    b"connection: ", b"close\r\n", b"keep-alive\r\n", b"upgrade\r\n", b"upgrade: h2c\r\n", b"x: y\r\n",
    b"expect: 100-continue\r\n", b" ", b"\t", b":", b",", b";", b"\0", b"\r", request("POST", "/x", b"abc"),
]  # fmt: skip


def _message(event: Event, attributes: dict[str, str]) -> bytes:
    return json.dumps(attributes).encode() + b"\n" + msgspec.json.encode(event)


def _messages() -> list[bytes]:
    told = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "//t", "ce-time": "2026-01-01T00:00:00Z"}
    return [_message(event, told | {"ce-type": type_of(type(event))}) for _, event in EXAMPLES]


STREAM = b"".join((delta("Hel"), b": a comment\n\n", delta("lo"), usage_event(3, 2), DONE))
CONFIGS = [
    {
        "backends": {"p": {"replicas": ["http://localhost:1"]}},
        "models": {"m": {"backend": "p", "context": 9}},
    },
    {"backends": {"p": {"discover": "d:1"}}, "models": {"m": {"backend": "p"}}, "aliases": {"a": "m"}},
]

SEEDS: dict[str, list[bytes]] = {
    "front": [UNCUT + said for kind in REFUSED.values() for _, said in kind.values() if len(said) < 500]
    + [UNCUT + said for said in TAKEN.values()]
    + [b"\x03\x05\x10\x20" + bytes(12) + request("POST", "/x", b"abc") * 2],
    "admission": CHATS,
    "submission": [
        *CHATS,
        b'{"url":"/v1/chat/completions","body":%b,"lane":"batch","deadline":60,"answer":"topic"}' % CHATS[0],
        b'{"url":"/v1/chat/completions","body":%b,"deadline":"2026-01-02T00:00:00Z"}' % CHATS[1],
    ],
    "config": [json.dumps(document).encode() for document in CONFIGS],
    "envelope": _messages(),
    "sse": [UNCUT + STREAM, UNCUT + STREAM.replace(b"\n", b"\r\n"), UNCUT + completion(usage=usage(1, 2))],
    "guard": [
        STREAM,
        STREAM.replace(b"\n", b"\r\n"),
        delta("l") + delta("ol") + delta("o", logprobs=None) + DONE,
        b'data: {"choices":[{"index":1,"delta":{"tool_calls":[{"function":{"arguments":"l"}}]}}]}\n\n'
        b'data: {"choices":[{"text":"lo","finish_reason":"stop"}]}\n\n' + DONE,
    ],
    "engine_error": [
        b"\0" * 8 + problem(),
        b"\x1d1.5    " + problem(code="x", param=None),
        b"\0" * 8 + b"<html>",
    ],
    "header": [b"max-age=3, no-cache", b"only-if-cached", b"Bearer sk-1", b"bearer  x "],
}
