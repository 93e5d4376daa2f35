"""Looking on at everything that is said."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from events.bus import Message
from services.adapters.pubsub.conversation import PubSubConversation
from tests.cloud.pubsub import opening
from tests.cloud.pubsub.opening import NEWS
from tests.support.client import PATIENCE_S

pytestmark = pytest.mark.anyio


@pytest.fixture
async def project() -> AsyncIterator[Any]:
    async with opening.project() as opened:
        await opened.ensure(NEWS)
        yield opened
    await opening.settle()


async def test_once_it_is_ready_nothing_is_missed(project: Any) -> None:
    conversation = PubSubConversation(project.channel, project.place, [NEWS.topic])
    async with aclosing(conversation.watch()) as watch:
        await watch.ready()
        await watch.ready()
        await project.publisher().publish(
            [Message(topic=NEWS.topic, attributes={"ce-id": "1"}, data=b"said before anybody listened")]
        )
        async with asyncio.timeout(PATIENCE_S):
            message = await anext(aiter(watch))

    assert b"said before anybody listened" == message.data


async def test_one_who_only_listens_hears_too(project: Any) -> None:
    conversation = PubSubConversation(project.channel, project.place, [NEWS.topic])
    async with aclosing(conversation.watch()) as watch, asyncio.timeout(PATIENCE_S):
        hearing = asyncio.ensure_future(anext(aiter(watch)))
        while not hearing.done():
            await project.publisher().publish(
                [Message(topic=NEWS.topic, attributes={"ce-id": "1"}, data=b"said again and again")]
            )
            await asyncio.sleep(0.05)

    assert b"said again and again" == (await hearing).data
