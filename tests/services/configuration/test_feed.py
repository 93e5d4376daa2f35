"""What a process serves while documents are published, well-formed and not."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from events.config import Backend, Config, Model
from events.config_reading import LARGEST
from events.words import Conflict, Invalid, Unavailable
from services.adapters.memory.config_documents import MemoryConfigDocuments
from services.configuration.feed import ConfigFeed, Published

pytestmark = pytest.mark.anyio

STARTED = Config(
    backends={"pool": Backend(replicas=("http://a:1",))}, models={"first": Model(backend="pool")}
)


def body(*models: str) -> bytes:
    return json.dumps(
        {
            "backends": {"pool": {"replicas": ["http://a:1"]}},
            "models": {model: {"backend": "pool"} for model in models},
        }
    ).encode()


@pytest.fixture
def documents() -> MemoryConfigDocuments:
    return MemoryConfigDocuments(lambda: datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def feed(documents: MemoryConfigDocuments) -> ConfigFeed:
    return ConfigFeed(documents)


def models(feed: ConfigFeed) -> list[str]:
    return list(feed.config().models)


async def test_before_there_is_a_document_nothing_is_served(feed: ConfigFeed) -> None:
    for ask in (feed.config, feed.pool, feed.served):
        with pytest.raises(Unavailable):
            ask()
    with pytest.raises(Unavailable, match="penstock config apply"):
        await feed.refresh()


async def test_a_version_is_served_whole_then_the_next(
    feed: ConfigFeed, documents: MemoryConfigDocuments
) -> None:
    await documents.publish(body("a"), 0)
    await feed.refresh()
    pool = feed.pool()
    await feed.refresh()
    assert (["a"], 1, True) == (models(feed), feed.version, pool is feed.pool())

    await documents.publish(body("b"), 1)
    await feed.refresh()
    assert (["b"], 2, False) == (models(feed), feed.version, pool is feed.pool())
    feed.close()


async def test_one_that_cannot_be_read_is_passed_over(
    feed: ConfigFeed, documents: MemoryConfigDocuments, caplog: pytest.LogCaptureFixture
) -> None:
    await documents.publish(body("a"), 0)
    await feed.refresh()
    await documents.publish(b"{", 1)
    await feed.refresh()

    assert (["a"], 1, 2) == (models(feed), feed.version, feed.served().seen)
    assert "version 2 of the configuration is not taken" in caplog.text
    feed.close()


async def test_at_the_start_the_last_good_one_is_found(
    feed: ConfigFeed, documents: MemoryConfigDocuments
) -> None:
    for number, one in enumerate((body("a"), body("b"), b"{}", b"no")):
        await documents.publish(one, number)
    await feed.refresh()

    assert (["b"], 2) == (models(feed), feed.version)
    feed.close()


async def test_what_was_not_published_is_served_until_something_is(
    feed: ConfigFeed, documents: MemoryConfigDocuments
) -> None:
    feed.begin(STARTED, "the engine found")
    await feed.refresh()
    assert (0, "the engine found") == (feed.served().version, feed.served().source)

    await feed.apply(body("applied"), 0)
    assert (1, "version 1, applied") == (feed.served().version, feed.served().source)
    assert ["applied"] == models(feed)
    feed.close()


async def test_one_that_cannot_hold_is_not_published(
    feed: ConfigFeed, documents: MemoryConfigDocuments
) -> None:
    feed.begin(STARTED, "")
    for wrong, told in (
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b" " * (LARGEST + 1), "is the most"),
        (b'{"backends": {}, "models": {}}', "no models"),
        (b'{"modles": {}}', "did you mean models"),
    ):
        with pytest.raises(Invalid, match=told):
            await feed.apply(wrong, None)

    assert await documents.current() is None
    assert ["first"] == models(feed)
    feed.close()


async def test_of_two_operators_the_second_is_told(feed: ConfigFeed) -> None:
    feed.begin(STARTED, "")
    await feed.apply(body("a"), 0)
    with pytest.raises(Conflict, match="is 1, not 0"):
        await feed.apply(body("b"), 0)
    await feed.apply(body("c"), None)

    assert (["c"], 2) == (models(feed), feed.version)
    feed.close()


async def test_what_was_named_at_the_start_stays(feed: ConfigFeed, documents: MemoryConfigDocuments) -> None:
    await documents.publish(body("applied"), 0)
    feed.begin(STARTED, "a file", pinned="The file wins.")
    with pytest.raises(Conflict, match="The file wins"):
        await feed.apply(body("b"), None)
    await feed.refresh()

    assert ["first"] == models(feed)
    feed.close()


class Late(MemoryConfigDocuments):
    """Answers with a version that is not the newest any more."""

    def __init__(self, late: Published) -> None:
        super().__init__(lambda: late.at)
        self.late = late

    async def current(self) -> Published | None:
        return self.late


async def test_a_look_that_was_overtaken_changes_nothing() -> None:
    late = Late(Published(version=2, body=body("b"), at=datetime(2026, 1, 1, tzinfo=UTC)))
    feed = ConfigFeed(late)
    await feed.refresh()
    late.late = Published(version=1, body=body("a"), at=late.late.at)
    await feed.refresh()

    assert ["b"] == models(feed)
    feed.close()


async def test_what_is_lacking_is_judged_at_every_look(documents: MemoryConfigDocuments) -> None:
    lacking = {"pool": "luck"}

    def judge(config: Config) -> Mapping[str, str]:
        return dict(lacking)

    feed = ConfigFeed(documents, judge)
    await documents.publish(body("a"), 0)
    await feed.refresh()
    assert {"pool": "luck"} == feed.lacking()
    lacking.clear()
    await feed.refresh()
    assert {} == feed.lacking()
    feed.close()
