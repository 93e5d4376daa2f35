"""A response in the background is begun through one router and followed through another."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from services.adapters.emulators import free_port
from tests.cloud.topology.platform import Platform, post, until
from tests.support.command import PENSTOCK

pytestmark = pytest.mark.slow

MODEL = "gemma-3-4b-it"


@contextmanager
def another_router(platform: Platform) -> Iterator[int]:
    """A second router of the same platform; its port."""
    pid = platform.parts.pids("router")[0]
    lines = Path(f"/proc/{pid}/environ").read_text().split("\0")
    port = free_port()
    options = ("serve", "router", "--port", str(port))
    process = subprocess.Popen(
        [*PENSTOCK, *options],
        env=os.environ | dict(line.split("=", 1) for line in lines if "=" in line),
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
    )
    try:
        until(lambda: is_ready(port), "the second router is ready")
        yield port
    finally:
        process.terminate()
        process.wait(60)


def is_ready(port: int) -> bool:
    try:
        return post(port, "/ready", b"", {}, method="GET")[0] == 200
    except OSError:
        return False


def client(platform: Platform, port: int) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"http://127.0.0.1:{port}/v1", api_key=platform.up.key, max_retries=0, timeout=60
    )


def followed(stream: Any) -> list[dict[str, Any]]:
    return [event.model_dump() for event in stream]


def long(tokens: int) -> dict[str, Any]:
    """An answer of exactly so many tokens, 5 ms each."""
    more = {"ignore_eos": True}
    return {"model": MODEL, "input": "Go on.", "max_output_tokens": tokens, "extra_body": more}


def test_any_router_tells_the_same(platform: Platform) -> None:
    asked = long(300)
    with another_router(platform) as port:
        here, there = client(platform, platform.up.port), client(platform, port)
        with here, there:
            begun = iter(here.responses.create(**asked, background=True, stream=True))
            first = next(begun).model_dump()
            name = first["response"]["id"]
            elsewhere = followed(there.responses.retrieve(name, stream=True))
            events = [first, *followed(begun)]
            middle = events[len(events) // 2]["sequence_number"]
            rest = followed(there.responses.retrieve(name, stream=True, starting_after=middle))
            whole = there.responses.retrieve(name)

    assert "response.incomplete" == events[-1]["type"]
    assert events == elsewhere
    assert events[len(events) // 2 + 1 :] == rest
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == whole.output_text != ""


def test_who_cancels_elsewhere_ends_it_for_all(platform: Platform) -> None:
    asked = long(20_000)
    with another_router(platform) as port:
        here, there = client(platform, platform.up.port), client(platform, port)
        with here, there:
            begun = iter(here.responses.create(**asked, background=True, stream=True))
            name = next(begun).model_dump()["response"]["id"]
            until(lambda: next(begun).type == "response.output_text.delta", "it is told")
            cancelled = there.responses.cancel(name)
            last = followed(begun)[-1]
            again = followed(there.responses.retrieve(name, stream=True))

    assert "cancelled" == cancelled.status
    assert ("response.failed", "cancelled") == (last["type"], last["response"]["status"])
    assert last == again[-1]
