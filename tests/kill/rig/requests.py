"""The requests callers make, by each of the ways in."""

import json
from typing import Literal

from services.rehearsal.endpoint import Options
from tests.kill.rig.calls import Call
from tests.kill.rig.processes import Platform

MODEL = Options().model

Way = Literal["posted", "published"]

ID_FIELDS: dict[Way, str] = {"posted": "id", "published": "request_id"}


def synchronous(platform: Platform, prompt: str, tokens: int, *, stream: bool) -> Call:
    """A chat completion of exactly so many tokens."""
    return Call("POST", "/v1/chat/completions", _body(prompt, tokens, stream=stream), platform.key)


def queued(platform: Platform, prompt: str, tokens: int, way: Way) -> Call:
    """The same, to be queued; its request is named by a field of the acknowledgement."""
    body = _body(prompt, tokens)
    if way == "posted":
        return Call("POST", "/v1/requests", body, platform.key)
    return Call("POST", "/admin/v1/tenants/default/ingest", body, platform.admin_key)


def _body(prompt: str, tokens: int, **more: bool) -> bytes:
    messages = [{"role": "user", "content": prompt}]
    wish = {"model": MODEL, "messages": messages, "max_tokens": tokens, "ignore_eos": True}
    return json.dumps(wish | more).encode()
