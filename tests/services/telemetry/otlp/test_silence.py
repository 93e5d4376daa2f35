"""Whatever happens to them: prompts, answers, keys and users are in no log, no span and no figure."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.router.credentials import mint
from services.runtime.logs import JsonLines
from services.runtime.telemetry import Wish
from services.telemetry.context import Sampler
from tests.support import client
from tests.support.otlp import collector
from tests.support.platform import CHAT, Running, config_file, running
from tests.support.upstream import Call, Upstream, answers, streams, upstream
from tests.support.wire import DONE, chat, completion, delta, problem

pytestmark = pytest.mark.anyio

PROMPT = "promptmarker"  # as a code could look, too
ANSWER = "answermarker"
USER = "user-marker@example.org"


async def answer(call: Call) -> None:
    """The prompt echoed and an answer, in the shape that was asked for; or an error that quotes both."""
    text = f"{ANSWER} {PROMPT}"
    if "fail" in call.json:
        body = json.dumps({"error": {"message": text, "code": PROMPT, "type": ANSWER}}).encode()
        await answers(body, call.json["fail"])(call)
    elif "broken" in call.json:
        await streams(b"data: " + text.encode() + b"\n\n")(call)
    elif call.json.get("stream"):
        await streams(delta(text), DONE)(call)
    else:
        await answers(completion(text))(call)


async def use(platform: Running) -> list[str]:
    """Every way a prompt can go, well and badly; the keys that were used."""
    wrong = mint()
    for more in (
        {}, {"stream": True}, {"fail": 400}, {"fail": 500}, {"stream": True, "broken": 1},
        {"messages": PROMPT}, {"model": PROMPT}, {"user": USER}, {"tools": PROMPT, "response_format": PROMPT},
    ):  # fmt: skip
        body = chat(PROMPT, **more)
        for path in (CHAT, "/v1/responses", "/v1/completions", "/v1/embeddings"):
            await platform.call("POST", path, body)
        queued = await platform.call("POST", "/v1/requests", body)
        if queued.status == 202 and more.get("fail") != 500:
            await platform.call("GET", f"/v1/requests/{queued.json['id']}?wait=10")
    for headers in (
        {"authorization": f"Bearer {wrong}"},
        {"user-agent": platform.key},
        {"traceparent": PROMPT},
    ):
        await platform.call("POST", CHAT, chat(PROMPT), headers)
    await platform.call("POST", CHAT, chat(PROMPT)[:-1])
    await platform.call("POST", CHAT, chat(PROMPT), {"content-type": PROMPT})
    await platform.call("GET", f"/v1/{platform.key}?q={PROMPT}")
    await client.ask(platform.port, "GET", f"/v1/models?{PROMPT}={wrong}")
    return [platform.key, wrong, platform.admin_key]


@pytest.fixture
def json_logs() -> Iterator[None]:
    """The logs of this process, whole and in JSON, on standard error."""
    root, handler = logging.getLogger(), logging.StreamHandler()
    handler.setFormatter(JsonLines())
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield
    root.removeHandler(handler)
    root.setLevel(level)


async def test_no_content_and_no_key_is_told_anywhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], json_logs: None
) -> None:
    with collector() as told:
        async with upstream() as engine:
            engine.always = answer
            wish = Wish(
                traces_url=f"{told.url}/v1/traces",
                metrics_url=f"{told.url}/v1/metrics",
                sampler=Sampler(ratio=1.0, by_parent=False),
            )
            config = config_file(tmp_path, engine.url)
            async with running(tmp_path, wish, config=config, log_format="json") as platform:
                keys = await use(platform)
                port = int(platform.metrics_url.rpartition(":")[2])
                figures = (await client.ask(port, "GET", "/metrics")).body
            assert len(engine.calls) > 10
        sent = b"".join(told.raw)
        log = capfd.readouterr().err.encode()
        secrets = [PROMPT, ANSWER, USER, *keys]

        assert len(told.spans) > 50
        assert log.count(b'"outcome"') > 30
        for place, content in (("spans and figures", sent), ("/metrics", figures), ("logs", log)):
            assert [] == [(place, secret) for secret in secrets if secret.encode() in content]


async def test_an_engine_cannot_make_labels(tmp_path: Path, engine_that_fails: Upstream) -> None:
    config = config_file(tmp_path, engine_that_fails.url)
    async with running(tmp_path, config=config) as platform:
        for _ in range(3):
            await platform.chat()
        port = int(platform.metrics_url.rpartition(":")[2])
        figures = (await client.ask(port, "GET", "/metrics")).body

    assert b'error_type="engine_error"' in figures
    assert b"made_up" not in figures


@pytest.fixture
async def engine_that_fails() -> object:
    async with upstream() as engine:
        engine.will(*[answers(problem(f"made_up_{number}"), 400) for number in range(3)])
        yield engine
