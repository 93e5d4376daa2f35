"""Requests an engine cannot serve as they are: it answers all the same, or its caller learns why."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ollama.asking import body, client_of, counted
from tests.ollama.engines import Engine
from tests.ollama.serving import BRIEF
from tests.support.client import Response
from tests.support.platform import CHAT, Running, running
from tests.support.wire import events_of

pytestmark = pytest.mark.anyio

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def said(*parts: object) -> list[Any]:
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


def image(url: str) -> list[Any]:
    return said({"type": "image_url", "image_url": {"url": url}})


# What is asked, and the status each engine answers with.
ODD: dict[str, tuple[dict[str, Any], int, int]] = {
    "an image, and the model reads only text": (
        {"messages": image(f"data:image/png;base64,{PIXEL}")},
        200,
        200,
    ),
    "an image elsewhere": ({"messages": image("https://example.com/pixel.png")}, 400, 200),
    "an image that is none": ({"messages": image("data:image/png;base64,!")}, 400, 200),
    "sound": ({"messages": said({"type": "input_audio", "input_audio": {"data": "AA=="}})}, 400, 200),
    "nothing said": ({"messages": [{"role": "user", "content": None}]}, 400, 200),
    "an empty text": ({"messages": [{"role": "user", "content": ""}]}, 200, 200),
    "only what the system says": ({"messages": [{"role": "system", "content": "Hello."}]}, 200, 200),
    "tools, and the model knows none": ({"tools": [FUNCTION]}, 400, 200),
    "a temperature in words": ({"temperature": "hot"}, 400, 400),
    "JSON": ({"response_format": {"type": "json_object"}}, 200, 200),
    "two answers": ({"n": 2}, 200, 200),
    "a field nobody knows": ({"colour": "blue"}, 200, 200),
}


@pytest.mark.parametrize("case", ODD)
async def test_it_is_answered_or_refused_in_the_callers_terms(
    platform: Running, engine: Engine, case: str
) -> None:
    asked, by_ollama, by_rehearsal = ODD[case]
    fields = {"max_tokens": 20, **asked}
    answer = await platform.call("POST", CHAT, body(BRIEF, **fields))
    streamed = await platform.call("POST", CHAT, body(BRIEF, stream=True, **fields))

    expected = by_ollama if engine.name == "ollama" else by_rehearsal
    assert [expected, expected] == [answer.status, streamed.status]
    is_proper(answer)
    if expected != 200:
        is_proper(streamed)


def is_proper(answer: Response) -> None:
    """An answer with its usage, or an error of ours with a message."""
    if answer.status == 200:
        assert answer.json["choices"]
        assert answer.json["usage"]["prompt_tokens"] > 0
    else:
        assert {"message", "type", "param", "code"} == set(answer.error)
        assert answer.error["message"]


async def test_a_schema_that_is_none(platform: Running, engine: Engine) -> None:
    schema = {"type": "json_schema", "json_schema": {"schema": {"type": 7}}}
    answer = await platform.call("POST", CHAT, body(BRIEF, response_format=schema))
    streamed = await platform.call("POST", CHAT, body(BRIEF, response_format=schema, stream=True))

    is_proper(answer)
    if engine.name == "ollama":  # it fails where it should refuse; of a stream it has begun by then
        assert (502, "engine_error") == (answer.status, answer.error["code"])
        assert "engine_died" == events_of(streamed.body)[-1]["error"]["code"]


async def test_a_prompt_that_is_too_long(platform: Running, engine: Engine) -> None:
    answer = await platform.call("POST", CHAT, body(BRIEF, messages=long(engine)))

    if engine.name == "ollama":  # it forgets the beginning, and tells nobody
        assert engine.contexts[BRIEF] == answer.json["usage"]["prompt_tokens"]
        assert engine.contexts[BRIEF] == (await counted(platform, 1)).input
    else:
        assert (400, "context_length_exceeded") == (answer.status, answer.error["code"])


async def test_a_prompt_that_is_too_long_for_the_context_we_were_told(tmp_path: Path, engine: Engine) -> None:
    config = engine.config(tmp_path, context=engine.contexts[BRIEF])
    async with running(tmp_path, config=config) as platform:
        answer = await platform.call("POST", CHAT, body(BRIEF, messages=long(engine)))

    assert (400, "context_length_exceeded") == (answer.status, answer.error["code"])


def long(engine: Engine) -> list[Any]:
    return [{"role": "user", "content": "a river " * engine.contexts[BRIEF]}]


async def test_a_model_nobody_has(platform: Running) -> None:
    answer = await platform.call("POST", CHAT, body("gpt-9"))

    assert (404, "model_not_found") == (answer.status, answer.error["code"])
    assert BRIEF in answer.error["message"]


async def test_a_model_that_only_we_know_of(tmp_path: Path, engine: Engine) -> None:
    path = Path(engine.config(tmp_path))
    document = yaml.safe_load(path.read_text())
    document["models"]["gone"] = {"backend": "pool"}
    path.write_text(yaml.safe_dump(document))
    async with running(tmp_path, config=str(path)) as platform:
        answers = [
            await platform.call("POST", CHAT, body("gone", stream=streamed)) for streamed in (True, False)
        ]
        async with client_of(platform) as client:
            await client.chat.completions.create(model=BRIEF, messages=said())
        told = await counted(platform, 1)

    assert [(502, "engine_error")] * 2 == [(answer.status, answer.error["code"]) for answer in answers]
    assert 1 == told.requests
