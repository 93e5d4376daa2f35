"""Every endpoint that Ollama has, and responses, which are made of its chats, with OpenAI's own clients."""

import os
import subprocess
from pathlib import Path
from typing import Any

import anyio.to_thread
import openai
import pytest

from tests.conformance.installed import missing_node, node_modules
from tests.ollama.asking import client_of, counted
from tests.ollama.engines import FOREVER, HELLO, Engine
from tests.ollama.serving import BRIEF, ENDLESS
from tests.support.platform import Running

pytestmark = pytest.mark.anyio

SCRIPT = Path(__file__).with_name("endpoints.cjs")


async def test_a_completion_whole_and_streamed(platform: Running) -> None:
    asked: dict[str, Any] = {"prompt": "A penstock", "max_tokens": 5, "extra_body": FOREVER}
    async with client_of(platform) as client:
        whole = await client.completions.create(model=ENDLESS, **asked)
        usage: Any = {"include_usage": True}
        stream = await client.completions.create(model=ENDLESS, stream=True, stream_options=usage, **asked)
        chunks = [chunk async for chunk in stream]

    assert ("text_completion", "length") == (whole.object, whole.choices[0].finish_reason)
    assert whole.choices[0].text
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices)
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    told = await counted(platform, 2)
    assert (2, whole.usage.prompt_tokens + chunks[-1].usage.prompt_tokens, 2 * 5, 0) == (
        told.requests,
        told.input,
        told.output,
        told.estimated,
    )


async def test_embeddings_of_one_text_and_of_several(platform: Running) -> None:
    async with client_of(platform) as client:
        one = await client.embeddings.create(model=BRIEF, input="A pipe.", encoding_format="float")
        two = await client.embeddings.create(
            model=BRIEF, input=["A pipe.", "A turbine."], encoding_format="float"
        )

    assert [0, 1] == [row.index for row in two.data]
    assert 1 == len({len(row.embedding) for row in (*one.data, *two.data)})
    assert one.data[0].embedding == pytest.approx(two.data[0].embedding, abs=1e-3)
    told = await counted(platform, 2)
    assert (one.usage.prompt_tokens + two.usage.prompt_tokens, 0, 0) == (
        told.input,
        told.output,
        told.estimated,
    )


async def test_a_model_is_read_by_its_name(platform: Running, engine: Engine) -> None:
    async with client_of(platform) as client:
        assert [*engine.serves] == [(await client.models.retrieve(name)).id for name in engine.serves]
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("gpt-9")


async def test_a_response_whole_and_streamed(platform: Running) -> None:
    async with client_of(platform) as client:
        whole = await client.responses.create(model=BRIEF, input=HELLO, instructions="Be brief.")
        stream = await client.responses.create(model=BRIEF, input=HELLO, stream=True)
        events = [event async for event in stream]

    assert ("completed", True) == (whole.status, bool(whole.output_text))
    assert ["response.created", "response.completed"] == [events[0].type, events[-1].type]
    last: Any = events[-1]
    assert last.response.output_text
    told = await counted(platform, 2)
    assert whole.usage is not None
    assert (
        whole.usage.input_tokens + last.response.usage.input_tokens,
        whole.usage.output_tokens + last.response.usage.output_tokens,
        0,
    ) == (told.input, told.output, told.estimated)


async def test_a_response_is_no_longer_than_its_caller_allows(platform: Running) -> None:
    async with client_of(platform) as client:
        told = await client.responses.create(
            model=ENDLESS, input=HELLO, max_output_tokens=7, extra_body=FOREVER
        )

    assert "incomplete" == told.status
    assert told.incomplete_details is not None
    assert "max_output_tokens" == told.incomplete_details.reason


@pytest.mark.slow
async def test_openais_client_for_node(platform: Running) -> None:
    lacking = missing_node()
    if lacking is not None:
        pytest.skip(lacking)
    modules = await anyio.to_thread.run_sync(node_modules)
    told = {
        "OPENAI_BASE_URL": f"{platform.url}/v1",
        "OPENAI_API_KEY": platform.key,
        "NODE_PATH": str(modules),
    }
    ended = await anyio.run_process(
        ["node", "--test-reporter=tap", "--test", str(SCRIPT)],
        env=os.environ | told | {"BRIEF": BRIEF, "ENDLESS": ENDLESS},
        check=False,
        stderr=subprocess.STDOUT,
    )

    assert 0 == ended.returncode, ended.stdout.decode()
