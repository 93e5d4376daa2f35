"""The official client on `/v1/responses`: texts, streams, tools, structured answers, images and refusals."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support import official
from tests.support.platform import Running
from tests.support.rehearsing import MODEL, rehearsing

pytestmark = pytest.mark.anyio

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class City(BaseModel):
    """What a structured answer tells."""

    name: str
    people: int


@pytest.fixture(scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with rehearsing(tmp_path_factory.mktemp("platform")) as made:
        yield made


@pytest.fixture
async def client(platform: Running) -> AsyncIterator[Any]:
    async with official.client(platform.url, platform.key) as made:
        yield made


async def test_a_text(client: Any) -> None:
    answer = await client.responses.create(
        model=MODEL, input="What is a penstock?", instructions="Be brief.", metadata={"a": "b"}, store=False
    )

    assert "This is a rehearsal" in answer.output_text
    assert ("completed", None, None) == (answer.status, answer.error, answer.incomplete_details)
    assert ({"a": "b"}, "Be brief.", "disabled") == (answer.metadata, answer.instructions, answer.truncation)
    assert answer.id.startswith("resp_")
    assert answer.usage is not None
    assert answer.usage.input_tokens > 0
    assert answer.usage.input_tokens + answer.usage.output_tokens == answer.usage.total_tokens
    assert 0 == answer.usage.output_tokens_details.reasoning_tokens


async def test_an_answer_that_is_cut_says_so(client: Any) -> None:
    answer = await client.responses.create(model=MODEL, input="Go on.", max_output_tokens=3)

    assert ("incomplete", "incomplete") == (answer.status, answer.output[0].status)
    assert answer.incomplete_details is not None
    assert "max_output_tokens" == answer.incomplete_details.reason
    assert answer.usage is not None
    assert 3 == answer.usage.output_tokens


async def test_a_stream_tells_what_the_whole_answer_tells(client: Any) -> None:
    asked: dict[str, Any] = {"model": MODEL, "input": "Tell me.", "extra_body": {"seed": 7}}
    whole = await client.responses.create(**asked)
    async with client.responses.stream(**asked) as stream:
        kinds = [event.type async for event in stream]
        streamed = await stream.get_final_response()

    assert whole.output_text == streamed.output_text != ""
    assert whole.usage == streamed.usage
    assert ["response.created", "response.in_progress", "response.output_item.added"] == kinds[:3]
    assert "response.completed" == kinds[-1]


async def test_events_are_numbered_from_naught(client: Any) -> None:
    stream = await client.responses.create(model=MODEL, input="Go on.", max_output_tokens=4, stream=True)
    events = [event async for event in stream]

    assert list(range(len(events))) == [event.sequence_number for event in events]
    assert "response.incomplete" == events[-1].type
    assert 4 == sum(event.type == "response.output_text.delta" for event in events)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_called_and_its_output_answered(client: Any, streamed: bool) -> None:
    asked: dict[str, Any] = {"model": MODEL, "tools": [WEATHER]}
    said: list[Any] = [{"role": "user", "content": "Call get_weather for me."}]
    if streamed:
        async with client.responses.stream(input=said, **asked) as stream:
            first: Any = await stream.get_final_response()
    else:
        first = await client.responses.create(input=said, **asked)
    (call,) = first.output
    said += [call.model_dump(), {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny."}]
    second = await client.responses.create(input=said, **asked)

    assert ("function_call", "get_weather", "completed") == (call.type, call.name, call.status)
    assert {"city"} == json.loads(call.arguments).keys()
    assert "Sunny." in second.output_text


async def test_a_tool_that_must_be_called(client: Any) -> None:
    answer = await client.responses.create(
        model=MODEL, input="Hi.", tools=[WEATHER], tool_choice={"type": "function", "name": "get_weather"}
    )

    assert ["function_call"] == [item.type for item in answer.output]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_structured_answer_is_parsed(client: Any, streamed: bool) -> None:
    if streamed:
        async with client.responses.stream(model=MODEL, input="A city.", text_format=City) as stream:
            answer = await stream.get_final_response()
    else:
        answer = await client.responses.parse(model=MODEL, input="A city.", text_format=City)

    assert isinstance(answer.output_parsed, City)


async def test_parts_and_images_are_read(client: Any) -> None:
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
    ]
    said: Any = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": content},
    ]
    plain = await client.responses.create(model=MODEL, input="What is this?")
    answer = await client.responses.create(model=MODEL, input=said)

    assert answer.output_text
    assert answer.usage is not None
    assert plain.usage is not None
    assert answer.usage.input_tokens > plain.usage.input_tokens + 200


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a turn of before": ({"previous_response_id": "resp_1"}, "previous_response_id"),
    "a conversation": ({"conversation": "conv_1"}, "conversation"),
    "a search": ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    "files": ({"tools": [WEATHER, {"type": "file_search", "vector_store_ids": ["x"]}]}, "tools[1].type"),
    "sources": ({"include": ["file_search_call.results"]}, "include[0]"),
    "a stored prompt": ({"prompt": {"id": "pmpt_1"}}, "prompt"),
}


@pytest.mark.parametrize(("more", "param"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_done_is_refused(client: Any, more: dict[str, Any], param: str) -> None:
    with pytest.raises(official.BadRequestError) as caught:
        await client.responses.create(model=MODEL, input="Hi.", **more)

    assert ("unsupported_parameter", param) == (caught.value.code, caught.value.param)


async def test_an_unknown_model_and_a_prompt_too_long(client: Any) -> None:
    with pytest.raises(official.NotFoundError):
        await client.responses.create(model="gpt-9", input="Hi.")
    with pytest.raises(official.BadRequestError) as caught:
        await client.responses.create(model=MODEL, input="word " * 200_000)

    assert ("context_length_exceeded", "input") == (caught.value.code, caught.value.param)


async def test_responses_are_metered_like_chats(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with (
        rehearsing(tmp_path_factory.mktemp("metered")) as platform,
        official.client(platform.url, platform.key) as client,
    ):
        answer = await client.responses.create(model=MODEL, input="Hi.")
        row = await platform.usage()

    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (
        row["input_tokens"],
        row["output_tokens"],
    )
