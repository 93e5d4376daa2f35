"""What goes over a socket: requests as clients send them, responses as engines do, both as bytes."""

import json
from collections.abc import Iterable
from typing import Any

MODEL = "gemma"

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BARE_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"  # ended by the close
LAST_CHUNK = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def request(
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    *,
    version: str = "1.1",
) -> bytes:
    """A request; its host and its body's length are added."""
    named = {"host": "test", **(headers or {})}
    lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in named.items())]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + (body or b"")


def response(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """A response in one piece, JSON unless its headers say otherwise."""
    named = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in named.items()), "\r\n"]
    return "\r\n".join(lines).encode("latin-1") + body


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(parts: Iterable[bytes]) -> list[bytes]:
    """A whole chunked body, piece by piece."""
    return [*map(chunk, parts), LAST_CHUNK]


def event(content: object) -> bytes:
    """A server-sent event."""
    return b"data: %b\n\n" % json.dumps(content).encode()


def delta(text: str, **more: object) -> bytes:
    """An event with a piece of an answer."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
    return event({"object": "chat.completion.chunk", "model": MODEL, "choices": choices, **more})


def usage(prompt: int, completion: int) -> dict[str, int]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def usage_event(prompt: int, completion: int) -> bytes:
    """The event that tells the usage and nothing else."""
    return event({"object": "chat.completion.chunk", "choices": [], "usage": usage(prompt, completion)})


def completion(text: str = "Hello.", **more: object) -> bytes:
    """An answer in one piece."""
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    content = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL}
    return json.dumps({**content, "choices": choices, **more}).encode()


def chat(text: str = "Hi.", **more: object) -> bytes:
    """The body of a chat completion's request."""
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": text}], **more}).encode()


def problem(message: str = "No.", **more: object) -> bytes:
    """OpenAI's error envelope, as an engine would send it."""
    return json.dumps({"error": {"message": message, "type": "server_error", **more}}).encode()


def events_of(stream: bytes) -> list[Any]:
    """What the events of a stream say, [DONE] as text."""
    told = [part.strip().removeprefix(b"data:").strip() for part in stream.split(b"\n\n")]
    return [
        "[DONE]" if text == b"[DONE]" else json.loads(text) for text in told if text[:1] not in (b"", b":")
    ]


def text_of(stream: bytes) -> str:
    """The answer a stream tells."""
    told = [one for one in events_of(stream) if isinstance(one, dict)]
    pieces = (one["choices"][0]["delta"].get("content") for one in told if one.get("choices"))
    return "".join(piece or "" for piece in pieces)
