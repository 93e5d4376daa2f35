"""The requests callers make, by each of the ways in."""

import json
from typing import Literal

from services.rehearsal.endpoint import Options
from tests.kill.rig.calls import Call
from tests.kill.rig.processes import Platform

MODEL = Options().model

Way = Literal["posted", "published", "keyed", "followed"]  # keyed: posted, and retried; followed: a response

ID_FIELDS: dict[Way, str] = {"posted": "id", "published": "request_id", "keyed": "id"}


def synchronous(platform: Platform, prompt: str, tokens: int, *, stream: bool, once: str = "") -> Call:
    """A chat completion of exactly so many tokens; `once` is its idempotency key."""
    return Call("POST", "/v1/chat/completions", _body(prompt, tokens, stream=stream), platform.key, once)


def queued(platform: Platform, prompt: str, tokens: int, way: Way, once: str = "") -> Call:
    """The same, to be queued; its request is named by a field of the acknowledgement."""
    body = _body(prompt, tokens)
    if way == "published":
        return Call("POST", "/admin/v1/tenants/default/ingest", body, platform.admin_key)
    return Call("POST", "/v1/requests", body, platform.key, once)


def in_background(platform: Platform, prompt: str, tokens: int) -> Call:
    """A response of so many tokens, made in the background, to be followed."""
    wish = {"model": MODEL, "input": prompt, "max_output_tokens": tokens, "ignore_eos": True}
    body = json.dumps(wish | {"background": True, "stream": True}).encode()
    return Call("POST", "/v1/responses", body, platform.key)


def told_on(platform: Platform, response: str, after: int) -> Call:
    """The rest of its events, behind the number `after`; -1: all of them."""
    behind = f"&starting_after={after}" if after >= 0 else ""
    return Call("GET", f"/v1/responses/{response}?stream=true{behind}", key=platform.key)


def _body(prompt: str, tokens: int, **more: bool) -> bytes:
    messages = [{"role": "user", "content": prompt}]
    wish = {"model": MODEL, "messages": messages, "max_tokens": tokens, "ignore_eos": True}
    return json.dumps(wish | more).encode()
