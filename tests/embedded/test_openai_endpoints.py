"""The official client on the endpoints beside chats: completions, embeddings, models."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support import official
from tests.support.platform import Running
from tests.support.rehearsing import MODEL, rehearsing

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with rehearsing(tmp_path_factory.mktemp("platform")) as made:
        yield made


@pytest.fixture
async def client(platform: Running) -> AsyncIterator[Any]:
    async with official.client(platform.url, platform.key) as made:
        yield made


async def test_a_completion(client: Any) -> None:
    answer = await client.completions.create(model=MODEL, prompt=["One.", "Two."], max_tokens=5)

    assert ["length", "length"] == [choice.finish_reason for choice in answer.choices]
    assert answer.usage is not None
    assert 10 == answer.usage.completion_tokens


async def test_a_streamed_completion(client: Any) -> None:
    asked = {"model": MODEL, "prompt": "Say something.", "max_tokens": 12, "seed": 7}
    whole = await client.completions.create(**asked)
    stream = await client.completions.create(**asked, stream=True)
    told = "".join([chunk.choices[0].text async for chunk in stream])

    assert whole.choices[0].text == told != ""


@pytest.mark.parametrize("encoding", ["float", "base64", None])
async def test_embeddings(client: Any, encoding: str | None) -> None:
    more = {"encoding_format": encoding} if encoding else {}
    answer = await client.embeddings.create(model=MODEL, input=["a", "b"], dimensions=8, **more)

    assert [0, 1] == [row.index for row in answer.data]
    assert answer.usage.prompt_tokens > 0
    if encoding != "base64":
        assert [8, 8] == [len(row.embedding) for row in answer.data]


async def test_what_is_wrong_is_told_with_its_place(client: Any) -> None:
    with pytest.raises(official.BadRequestError) as caught:
        await client.embeddings.create(model=MODEL, input=[])
    with pytest.raises(official.NotFoundError):
        await client.completions.create(model="gpt-9", prompt="x")

    assert ("empty_array", "input") == (caught.value.code, caught.value.param)
