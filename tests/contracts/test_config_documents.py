import asyncio

import pytest

from events.words import Conflict
from tests.contracts.adapters import START, ConfigDocuments

pytestmark = pytest.mark.anyio


async def test_before_the_first_there_is_none(config_documents: ConfigDocuments) -> None:
    assert await config_documents.current() is None
    assert [] == list(await config_documents.versions(10))


async def test_what_was_published_is_current(config_documents: ConfigDocuments) -> None:
    published = await config_documents.publish(b'{"a": 1}', 0)

    assert (1, b'{"a": 1}', START) == (published.version, published.body, published.at)
    assert published == await config_documents.current()


async def test_a_version_follows_the_newest_only(config_documents: ConfigDocuments) -> None:
    await config_documents.publish(b"1", 0)
    with pytest.raises(Conflict, match="is 1, not 0"):
        await config_documents.publish(b"2", 0)
    with pytest.raises(Conflict, match="is 1, not 2"):
        await config_documents.publish(b"2", 2)
    await config_documents.publish(b"2", 1)

    current = await config_documents.current()
    assert current is not None
    assert (2, b"2") == (current.version, current.body)


async def test_every_version_is_kept(config_documents: ConfigDocuments) -> None:
    for number in range(5):
        await config_documents.publish(str(number).encode(), number)

    newest = await config_documents.versions(2)
    assert [(5, b"4"), (4, b"3")] == [(one.version, one.body) for one in newest]
    assert [5, 4, 3, 2, 1] == [one.version for one in await config_documents.versions(100)]


async def test_of_two_at_once_one_is_first(config_documents: ConfigDocuments) -> None:
    outcomes = await asyncio.gather(
        *(config_documents.publish(str(number).encode(), 0) for number in range(4)), return_exceptions=True
    )

    assert 3 == sum(isinstance(outcome, Conflict) for outcome in outcomes)
    assert [1] == [one.version for one in await config_documents.versions(10)]
