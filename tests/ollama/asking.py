"""What callers of a platform do in these tests, and what its ledger says of it."""

import json
from dataclasses import dataclass
from typing import Any

from tests.ollama.engines import HELLO
from tests.support import official
from tests.support.client import Response
from tests.support.platform import Running, eventually

COUNTS = ("requests", "input_tokens", "output_tokens", "estimated_tokens")
PATIENCE_S = 60.0  # for what is tried again, with pauses


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The ledger's sums over all models."""

    requests: int
    input: int
    output: int
    estimated: int


async def counted(platform: Running, requests: int) -> Counted:
    """What the ledger says once it counts that many requests."""
    sums: list[int] = []

    async def enough() -> bool:
        rows = (await platform.admin("GET", "/usage"))["data"]
        sums[:] = [sum(row[name] for row in rows) for name in COUNTS]
        return sums[0] >= requests

    await eventually(enough)
    return Counted(**dict(zip(("requests", "input", "output", "estimated"), sums, strict=True)))


def client_of(platform: Running, **more: Any) -> Any:
    """OpenAI's own client, which tries nothing again."""
    return official.client(platform.url, platform.key, **more)


def body(model: str, **more: Any) -> bytes:
    """The body of a chat completion's request."""
    return json.dumps({"model": model, "messages": HELLO, **more}).encode()


async def queue(platform: Running, model: str, *, deadline_s: int | None = None, **more: Any) -> str:
    """Queues a request and returns its id."""
    headers = {"x-penstock-deadline": str(deadline_s)} if deadline_s else None
    taken = await platform.call("POST", "/v1/requests", body(model, **more), headers)
    assert 202 == taken.status, taken.body
    name: str = taken.json["id"]
    return name


async def ended(platform: Running, name: str) -> Any:
    """A queued request once it has ended."""
    found: list[Response] = []

    async def over() -> bool:
        found[:] = [await platform.call("GET", f"/v1/requests/{name}?wait=5")]
        return found[0].json["status"] not in ("queued", "in_progress")

    await eventually(over, within_s=PATIENCE_S)
    return found[0].json
