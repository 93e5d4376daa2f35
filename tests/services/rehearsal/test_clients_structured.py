"""The official client has tools called, and its answers parsed."""

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from tests.services.rehearsal.talk import CHAT, ask, engine, events
from tests.services.rehearsal.test_clients import MODEL, client
from tests.support import official

pytestmark = pytest.mark.anyio


class Place(BaseModel):
    city: str = Field(min_length=3)
    country: Literal["FR", "JP"]


class Weather(BaseModel):
    """Looks the weather up."""

    where: Place
    days: int = Field(ge=1, le=7)
    unit: Literal["celsius", "fahrenheit"] | None
    hours: list[int]


class Add(BaseModel):
    a: float
    b: float


class Answer(BaseModel):
    steps: list[Place]
    final: Place | None
    score: float


def tools() -> list[Any]:
    return [official.pydantic_function_tool(kind) for kind in (Weather, Add)]


def asking(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def test_a_conversation_with_a_tool() -> None:
    async with engine() as talk, client(talk) as ai:
        messages = asking("Call Weather, please.")
        called = await ai.chat.completions.parse(model=MODEL, messages=messages, tools=tools())
        (choice,) = called.choices
        assert ("tool_calls", None) == (choice.finish_reason, choice.message.content)
        (call,) = choice.message.tool_calls or ()
        assert isinstance(call.function.parsed_arguments, Weather)
        made = call.model_dump(include={"id", "type", "function"})
        said: Any = {"role": "assistant", "content": None, "tool_calls": [made]}
        told: Any = {"role": "tool", "tool_call_id": call.id, "content": "12 degrees and rain"}
        answered = await ai.chat.completions.create(model=MODEL, messages=[*messages, said, told])
        assert "12 degrees and rain" in (answered.choices[0].message.content or "")
        assert "stop" == answered.choices[0].finish_reason


async def test_calls_in_parallel_unless_that_is_not_wanted() -> None:
    async with engine() as talk, client(talk) as ai:
        for parallel, names in ((True, ["Weather", "Add"]), (False, ["Weather"])):
            called = await ai.chat.completions.parse(
                model=MODEL,
                messages=asking("Call Weather and then Add."),
                tools=tools(),
                parallel_tool_calls=parallel,
            )
            calls = called.choices[0].message.tool_calls or ()
            assert names == [call.function.name for call in calls]
            assert len(names) == len({call.id for call in calls})


async def test_a_streamed_call_is_the_same_call() -> None:
    async with engine() as talk, client(talk) as ai:
        messages = asking("Call Weather and Add.")
        whole = await ai.chat.completions.parse(model=MODEL, messages=messages, tools=tools())
        async with ai.chat.completions.stream(model=MODEL, messages=messages, tools=tools()) as stream:
            told = [event async for event in stream]
            final = await stream.get_final_completion()
        done = [event for event in told if event.type == "tool_calls.function.arguments.done"]
        calls, streamed = whole.choices[0].message.tool_calls, final.choices[0].message.tool_calls
        assert [(call.id, call.function) for call in calls or ()] == [
            (call.id, call.function) for call in streamed or ()
        ]
        assert "tool_calls" == final.choices[0].finish_reason
        assert [(0, "Weather", Weather), (1, "Add", Add)] == [
            (event.index, event.name, type(event.parsed_arguments)) for event in done
        ]


async def test_a_streamed_call_begins_with_its_name_and_goes_on_with_its_arguments() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"const": 1}}}}}
    async with engine() as talk:
        reply = await talk.chat(
            content="f", tools=[tool], stream=True, stream_options={"include_usage": True}
        )
    role, head, *rest, finish, usage = events(reply.body)
    deltas = [event["choices"][0]["delta"] for event in (role, head, *rest, finish)]
    assert {"role": "assistant", "content": None} == deltas[0]
    (begun,) = deltas[1]["tool_calls"]
    name = begun.pop("id")
    assert name.startswith("call_")
    assert {"index": 0, "type": "function", "function": {"name": "f", "arguments": ""}} == begun
    pieces = [delta["tool_calls"][0] for delta in deltas[2:-1]]
    assert all({"index", "function"} == set(piece) for piece in pieces)
    assert '{"a":1}' == "".join(piece["function"]["arguments"] for piece in pieces)
    assert ({}, "tool_calls") == (deltas[-1], finish["choices"][0]["finish_reason"])
    assert 1 + len(pieces) == usage["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    ("choice", "said", "names"),
    [
        ("none", "Call Weather.", []),
        ("auto", "Hello.", []),
        ("required", "Hello.", ["Weather"]),
        ({"type": "function", "function": {"name": "Add"}}, "Hello.", ["Add"]),
    ],
)
async def test_the_choice_of_tools_is_heeded(choice: Any, said: str, names: list[str]) -> None:
    async with engine() as talk, client(talk) as ai:
        made = await ai.chat.completions.create(
            model=MODEL, messages=asking(said), tools=tools(), tool_choice=choice
        )
        calls: Any = made.choices[0].message.tool_calls or ()
        assert names == [call.function.name for call in calls]
        assert bool(names) is (made.choices[0].message.content is None)


@pytest.mark.parametrize("n", [1, 2])
async def test_a_parsed_answer(n: int) -> None:
    async with engine() as talk, client(talk) as ai:
        made = await ai.chat.completions.parse(
            model=MODEL, messages=asking("Plan."), response_format=Answer, n=n
        )
        assert [Answer] * n == [type(choice.message.parsed) for choice in made.choices]
        assert all(choice.message.refusal is None for choice in made.choices)


async def test_a_streamed_parsed_answer() -> None:
    async with engine() as talk, client(talk) as ai:
        async with ai.chat.completions.stream(
            model=MODEL, messages=asking("Plan."), response_format=Answer
        ) as stream:
            final = await stream.get_final_completion()
        assert isinstance(final.choices[0].message.parsed, Answer)


async def test_an_answer_that_is_cut_is_the_clients_own_error() -> None:
    async with engine() as talk, client(talk) as ai:
        with pytest.raises(official.LengthFinishReasonError):
            await ai.chat.completions.parse(
                model=MODEL, messages=asking("Plan."), response_format=Answer, max_tokens=3
            )


async def test_any_json_object_says_what_it_is() -> None:
    async with engine() as talk:
        reply = await talk.chat(content="JSON, please.", response_format={"type": "json_object"})
        said = json.loads(reply.json["choices"][0]["message"]["content"])
        assert "JSON, please." == said["you_said"]
        assert said["notice"].startswith("This is a rehearsal")


async def test_logprobs_are_told_for_each_token_whole_or_streamed() -> None:
    async with engine() as talk, client(talk) as ai:
        wanted = {"logprobs": True, "top_logprobs": 3, "max_tokens": 5}
        fields: Any = {"model": MODEL, "messages": asking("Why?"), **wanted}
        whole = (await ai.chat.completions.create(**fields)).choices[0]
        assert whole.logprobs is not None
        entries = whole.logprobs.content or []
        assert (5, whole.message.content) == (len(entries), "".join(entry.token for entry in entries))
        assert all(bytes(entry.bytes or ()).decode() == entry.token for entry in entries)
        assert {3} == {len(entry.top_logprobs) for entry in entries}
        assert all(entry.token == entry.top_logprobs[0].token for entry in entries)
        streamed = []
        async for chunk in await ai.chat.completions.create(**fields, stream=True):
            for choice in chunk.choices:
                streamed += (choice.logprobs.content or []) if choice.logprobs else []
        assert entries == streamed


async def test_several_streamed_choices_come_in_turns_and_are_what_they_are_whole() -> None:
    async with engine() as talk, client(talk) as ai:
        fields: Any = {"model": MODEL, "messages": asking("Why?"), "n": 3}
        whole = await ai.chat.completions.create(**fields)
        texts, order = {0: "", 1: "", 2: ""}, []
        usage = None
        options: Any = {"include_usage": True}
        async for chunk in await ai.chat.completions.create(**fields, stream=True, stream_options=options):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                order.append(choice.index)
        assert [choice.message.content for choice in whole.choices] == list(texts.values())
        assert {0, 1, 2} == set(order[:6])
        assert whole.usage is not None
        assert usage is not None
        assert whole.usage.completion_tokens == usage.completion_tokens


@pytest.mark.parametrize("stream", [True, False])
async def test_the_tier_is_told_where_one_is_asked_for(stream: bool) -> None:
    async with engine() as talk:
        reply = await talk.chat(service_tier="auto", stream=stream, max_tokens=2)
        told = events(reply.body) if stream else [reply.json]
        assert {"default"} == {one["service_tier"] for one in told}
        assert "service_tier" not in (await talk.chat(max_tokens=2)).json


async def test_a_schema_that_nothing_fits_is_refused_and_the_engine_goes_on(tmp_path: Any) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"allOf": [False]}}}
    async with engine(tmp_path) as talk:
        for stream in (True, False):
            reply = await talk.call(CHAT, ask(response_format=schema, stream=stream))
            error = reply.json["error"]
            assert (400, "response_format.json_schema.schema") == (reply.status, error["param"])
        assert [] == talk.rows()
        assert 200 == (await talk.chat()).status


async def test_images_are_counted_and_never_fetched() -> None:
    async with engine() as talk, client(talk) as ai:
        seen: Any = [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"http://127.0.0.1:{talk.port}/nowhere.png"}},
        ]
        made = await ai.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": seen}])
        assert made.usage is not None
        assert 256 + 3 == made.usage.prompt_tokens
        assert "What is this?" in (made.choices[0].message.content or "")
