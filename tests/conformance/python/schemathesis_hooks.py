"""What Schemathesis cannot guess: names of what is there, and which parts of a body belong together.

Loaded in the judges' environment by `tests/conformance/test_schemathesis.py`.
"""

import os
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import schemathesis

MODEL, REQUEST = os.environ["MODEL"], os.environ["REQUEST"]
DATED = re.compile(r"\d{4}-\d\d-\d\d[Tt]")
URLS = {"messages": "/v1/chat/completions", "prompt": "/v1/completions", "input": "/v1/embeddings"}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Mends a call, unless it is one whose headers are wrong on purpose."""
    if case.meta is not None and case.meta.generation.mode.is_negative:
        place = case.meta.phase.data.parameter_location
        if place is not None and place.name == "HEADER":
            return
    place = case.path_parameters or {}
    if "name" in place and not str(place["name"]).startswith("req_"):
        case.path_parameters = {"name": REQUEST if "/requests/" in case.path else MODEL}
    deadline = (case.headers or {}).get("x-penstock-deadline")
    if deadline is not None:
        case.headers["x-penstock-deadline"] = later(deadline)
    if isinstance(case.body, dict):
        case.body = mended(plain(case.body))


def plain(value: Any) -> Any:
    """Numbers without a fraction as clients write them: without a point."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def mended(body: dict[str, Any]) -> dict[str, Any]:
    """A body of the right shape whose parts also know of each other."""
    body = dict(body)
    if isinstance(body.get("model"), str):
        body["model"] = MODEL
    for name in ("messages", "input"):
        if isinstance(body.get(name), list):
            body[name] = [one for item in body[name] for one in answering(item)]
    if isinstance(body.get("input"), list) and all(map(is_thought, body["input"])) and body["input"]:
        body["input"].append({"role": "user", "content": "Hi."})
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("name") not in named(body.get("tools")):
        body["tool_choice"] = None
    if isinstance(body.get("body"), dict) and "messages" not in body:
        return enveloped(body)
    return body


def answering(item: Any) -> list[Any]:
    """An item; where it answers a call, behind that call."""
    if isinstance(item, dict) and item.get("role") == "tool":
        call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        return [{"role": "assistant", "tool_calls": [call]}, {**item, "tool_call_id": "call_1"}]
    if isinstance(item, dict) and item.get("type") == "function_call_output" and item.get("call_id"):
        return [{"type": "function_call", "call_id": item["call_id"], "name": "look"}, item]
    return [item]


def is_thought(item: Any) -> bool:
    """Whether it says nothing to anybody."""
    return isinstance(item, dict) and item.get("type") == "reasoning"


def named(tools: Any) -> list[Any]:
    """The names of tools."""
    return (
        [tool.get("name") for tool in tools or () if isinstance(tool, dict)]
        if isinstance(tools, list)
        else []
    )


def enveloped(envelope: dict[str, Any]) -> dict[str, Any]:
    """An envelope that is addressed to where its body belongs."""
    inner = mended(envelope["body"])
    kind = next((url for field, url in URLS.items() if field in inner), None)
    url = kind if kind and envelope.get("url") in URLS.values() else envelope.get("url")
    told = {**envelope, "url": url, "body": inner}
    return {**told, "deadline": later(told["deadline"])} if told.get("deadline") else told


def later(deadline: Any) -> Any:
    """A deadline that has not passed when it is read, and is not years away."""
    try:
        return type(deadline)(1) if 0 < float(deadline) < 1 else deadline
    except (TypeError, ValueError):
        dated = isinstance(deadline, str) and DATED.match(deadline)
        return (datetime.now(UTC) + timedelta(hours=1)).isoformat() if dated else deadline
