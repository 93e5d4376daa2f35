"""The official client on responses in the background: made, read, followed, resumed, cancelled, deleted."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response

from tests.support.platform import Running, eventually
from tests.support.rehearsing import MODEL, rehearsing

pytestmark = pytest.mark.anyio

ASKED: dict[str, Any] = {"model": MODEL, "input": "Tell me.", "extra_body": {"seed": 7}}


@pytest.fixture(scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with rehearsing(tmp_path_factory.mktemp("platform")) as made:
        yield made


@pytest.fixture
async def client(platform: Running) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{platform.url}/v1", api_key=platform.key, max_retries=0) as made:
        yield made


async def ended(client: AsyncOpenAI, name: str) -> Response:
    found: list[Response] = []

    async def is_over() -> bool:
        found[:] = [await client.responses.retrieve(name)]
        return found[0].status not in ("queued", "in_progress")

    await eventually(is_over)
    return found[0]


async def followed(stream: Any) -> list[dict[str, Any]]:
    return [event.model_dump() async for event in stream]


async def test_a_response_is_made_in_the_background(client: AsyncOpenAI) -> None:
    at_once = await client.responses.create(**ASKED)
    begun = await client.responses.create(**ASKED, background=True, metadata={"a": "b"})
    answer = await ended(client, begun.id)

    assert ("queued", True, [], "") == (begun.status, begun.background, begun.output, begun.output_text)
    assert ("completed", True, {"a": "b"}) == (answer.status, answer.background, answer.metadata)
    assert begun.created_at == answer.created_at
    assert at_once.output_text == answer.output_text != ""
    assert at_once.usage == answer.usage


async def test_it_is_a_queued_request_of_the_same_name(platform: Running, client: AsyncOpenAI) -> None:
    begun = await client.responses.create(**ASKED, background=True)
    answer = await ended(client, begun.id)
    told = await platform.call("GET", "/v1/requests/" + begun.id.replace("resp_", "req_"))

    assert "completed" == told.json["status"]
    assert answer.id == told.json["response"]["body"]["id"]


async def test_its_events_are_those_of_a_response_at_once(client: AsyncOpenAI) -> None:
    at_once = await followed(await client.responses.create(**ASKED, stream=True))
    events = await followed(await client.responses.create(**ASKED, stream=True, background=True))
    kinds = [event["type"] for event in events]

    assert ["response.created", "response.queued", "response.in_progress"] == kinds[:3]
    assert [event["type"] for event in at_once[2:]] == kinds[3:]
    assert list(range(len(events))) == [event["sequence_number"] for event in events]
    assert ("queued", "queued", "in_progress") == tuple(one["response"]["status"] for one in events[:3])
    text = "".join(one["delta"] for one in events if one["type"] == "response.output_text.delta")
    assert text == events[-1]["response"]["output"][0]["content"][0]["text"] != ""


async def test_its_rest_is_the_same_from_every_number(client: AsyncOpenAI) -> None:
    events = await followed(await client.responses.create(**ASKED, stream=True, background=True))
    name = events[0]["response"]["id"]
    again = await followed(await client.responses.retrieve(name, stream=True))

    assert events == again
    for number in range(len(events)):
        rest = await followed(await client.responses.retrieve(name, stream=True, starting_after=number))
        assert events[number + 1 :] == rest


async def test_a_number_that_was_never_told_is_refused(client: AsyncOpenAI) -> None:
    events = await followed(await client.responses.create(**ASKED, stream=True, background=True))
    name = events[0]["response"]["id"]

    for number in (len(events), 10**9):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.retrieve(name, stream=True, starting_after=number)
        assert "starting_after" == refused.value.param


async def test_an_answer_that_is_cut_says_so(client: AsyncOpenAI) -> None:
    cut: dict[str, Any] = {"model": MODEL, "input": "Go on.", "max_output_tokens": 3, "background": True}
    events = await followed(await client.responses.create(**cut, stream=True))
    whole = await ended(client, (await client.responses.create(**cut)).id)

    assert "response.incomplete" == events[-1]["type"]
    assert "incomplete" == events[-1]["response"]["status"] == whole.status


async def test_a_response_at_once_is_stored_where_that_is_asked_for(client: AsyncOpenAI) -> None:
    stored = await client.responses.create(**ASKED, store=True)
    async with client.responses.stream(**ASKED, store=True) as stream:
        streamed = await stream.get_final_response()

    for answer in (stored, streamed):
        found = await client.responses.retrieve(answer.id)
        assert (answer.id, answer.output_text) == (found.id, found.output_text)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve((await client.responses.create(**ASKED)).id)


async def test_a_chat_is_not_stored_and_says_so(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Hi."}], store=True
        )

    assert "store" == refused.value.param


async def test_a_response_is_cancelled_and_deleted(client: AsyncOpenAI) -> None:
    begun = await client.responses.create(**ASKED, background=True)
    cancelled = await client.responses.cancel(begun.id)  # it may have ended before
    await client.responses.delete(begun.id)

    assert cancelled.status in ("cancelled", "completed")
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(begun.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.cancel(begun.id)


async def test_the_items_it_was_asked_with_are_listed_page_by_page(client: AsyncOpenAI) -> None:
    said: Any = [
        {"role": "user", "content": "One."},
        {"role": "assistant", "content": "Two."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Three."}]},
    ]
    plain = await client.responses.create(**ASKED, store=True)
    stored = await client.responses.create(model=MODEL, input=said, store=True)
    found = [one.model_dump() async for one in client.responses.input_items.list(stored.id, limit=2)]
    (only,) = [one.model_dump() async for one in client.responses.input_items.list(plain.id)]
    first = (await client.responses.input_items.list(stored.id, order="asc", limit=1)).data[0].model_dump()

    assert ["Three.", "Two.", "One."] == [one["content"][0]["text"] for one in found]
    assert ["user", "assistant", "user"] == [one["role"] for one in found]
    assert 3 == len({one["id"] for one in found})
    assert found[-1] == first
    assert ("user", "Tell me.") == (only["role"], only["content"][0]["text"])


async def test_the_clients_own_helper_follows_and_resumes(client: AsyncOpenAI) -> None:
    async with client.responses.stream(**ASKED, background=True) as stream:
        events = [event async for event in stream]
        made = await stream.get_final_response()
    async with client.responses.stream(response_id=made.id) as stream:
        read = await stream.get_final_response()
    async with client.responses.stream(response_id=made.id, starting_after=5) as stream:
        rest = [event async for event in stream]

    assert made.output_text == read.output_text != ""
    assert [event.sequence_number for event in events if event.sequence_number > 5] == [
        event.sequence_number for event in rest
    ]
