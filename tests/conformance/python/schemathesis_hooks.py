"""What Schemathesis cannot guess: names of what is there, and which parts of a body belong together.

Loaded in the judges' environment by `tests/conformance/test_schemathesis.py`.
"""

import os
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import schemathesis

MODEL, REQUEST, RESPONSE = (os.environ[name] for name in ("MODEL", "REQUEST", "RESPONSE"))
RESPONSES = "/v1/responses"
FIRST_ITEM, LAST_EVENT = f"in_{RESPONSE.partition('_')[2]}0000", 3
LANES, WISHES = ("interactive", "batch"), ("queue", "hold", "fallback", "fail")
kept: set[str] = set()  # responses that can be read again
begun: set[str] = set()  # those of them that can be cancelled
KEY = re.compile(r"[!-+\--~ ]{1,255}")
DATED = re.compile(r"\d{4}-\d\d-\d\d[Tt]")
URLS = {"messages": "/v1/chat/completions", "prompt": "/v1/completions", "input": "/v1/embeddings"}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Mends a call, but for what is wrong on purpose; its idempotency key is one that was never used."""
    wrong, headers = wrong_place(case), case.headers or {}
    if wrong == "HEADER" and case.meta.phase.data.description.startswith("Missing"):
        return  # it would be taken for a good one, once anything of it was changed
    if KEY.fullmatch(str(headers.get("idempotency-key", ""))):
        headers["idempotency-key"] = uuid4().hex
    if wrong != "HEADER":
        mend_headers(case)
    if isinstance(case.body, dict):
        case.body = mended(plain(case.body))
        if case.path == RESPONSES:
            mend_response(case, wrong)
    if "name" in (case.path_parameters or {}):
        case.path_parameters = {"name": place_of(case)}
    if wrong != "QUERY":
        mend_query(case)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Notes which responses are kept."""
    if case.path == RESPONSES and response.status_code == 200:
        told = response.json() if response.headers["content-type"][0].startswith("application/json") else {}
        kept.update([told["id"]] if told.get("store") else [])
        begun.update([told["id"]] if told.get("background") else [])


def wrong_place(case: Any) -> str | None:
    """Where a call is wrong on purpose."""
    if case.meta is None or not case.meta.generation.mode.is_negative:
        return None
    place = case.meta.phase.data.parameter_location
    return place.name if place is not None else None


def mend_headers(case: Any) -> None:
    """A deadline that lies ahead, and a wish that goes with the body."""
    headers = case.headers or {}
    streams = isinstance(case.body, dict) and case.body.get("stream")
    if "x-penstock-deadline" in headers:
        headers["x-penstock-deadline"] = later(headers["x-penstock-deadline"])
    if headers.get("x-penstock-cold") == "queue" and (streams or case.path == RESPONSES):
        headers["x-penstock-cold"] = "hold"


def mend_response(case: Any, wrong: str | None) -> None:
    """What is in the background is stored. Headers that are wrong are so where they are heeded."""
    headers, body = case.headers or {}, case.body
    if wrong == "HEADER":
        body["background"] = headers.get("x-penstock-cold") in (None, *WISHES)
    if body.get("background") is True:
        body["store"] = None


def place_of(case: Any) -> str:
    """The name of what is there."""
    name = str(case.path_parameters["name"])
    if not case.path.startswith(RESPONSES):
        return name if name.startswith("req_") else REQUEST if "/requests/" in case.path else MODEL
    asked = {*(case.query or {})}
    if case.method.upper() == "DELETE":
        return name if name in kept else stored()
    if case.path.endswith("/cancel"):
        return name if name in begun else RESPONSE
    return name if name in kept and not asked & {"stream", "after"} else RESPONSE


def stored() -> str:
    """A response to be deleted."""
    headers = {"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    body = {"model": MODEL, "input": "Hi.", "store": True}
    told = httpx.post(f"{os.environ['OPENAI_BASE_URL']}/responses", json=body, headers=headers, timeout=90)
    return str(told.json()["id"])


def mend_query(case: Any) -> None:
    """An event, and an item, of the response that has them."""
    query = case.query or {}
    if "starting_after" in query:
        query["starting_after"] = min(int(query["starting_after"]), LAST_EVENT)
    if "after" in query:
        query["after"] = FIRST_ITEM


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
