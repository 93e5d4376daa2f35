"""What a client makes of an answer: read by the letter of the standards, with none of the router's code."""

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.support.client import Response

LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """`text`: all that was told of an answer. `finished`: it was told to its end, and no error. `code`: the
    error's. `broken`: something in it cannot be read.
    """

    text: str = ""
    finished: bool = False
    code: str | None = None
    broken: bool = False


def read(answer: Response) -> Read:
    """An answer of any kind."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        return _stream(answer.body)
    content = _json(answer.body)
    if content is None:
        return Read(broken=True)
    if "error" in content:
        return Read(code=content["error"]["code"])
    return Read(text=_text(content, "message"), finished=answer.status == 200)


def _stream(body: bytes) -> Read:
    text, done, code, broken = "", False, None, False
    for data in events_of(body):
        content = _json(data.encode())
        if data == "[DONE]":
            done = True
        elif content is None:
            broken = True
        elif "error" in content:
            code = content["error"]["code"]
        elif not done:
            text += _text(content, "delta")
    return Read(text=text, finished=done and code is None, code=code, broken=broken)


def events_of(body: bytes) -> list[str]:
    """The data of a stream's events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    events, data = [], list[str]()
    for line in LINE_END.split(body.decode("utf-8-sig", "replace"))[:-1]:
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            events.append("\n".join(data))
            data = []
    return events


def _json(data: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(data)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _text(content: dict[str, Any], part: str) -> str:
    return "".join(choice[part].get("content") or "" for choice in content.get("choices", ()))
