"""The wiring of one machine: what it makes, what it refuses to share, and how a start fails."""

import socket
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from events.words import Conflict, Invalid
from services.router.credentials import mint, well_formed
from services.runtime.local import LocalPlatform
from services.runtime.settings import Settings
from tests.support.platform import QUICK, Running, config_file, running
from tests.support.upstream import Upstream, answers, upstream
from tests.support.wire import chat, completion

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        yield made


@pytest.fixture
def config(tmp_path: Path, engine: Upstream) -> str:
    return config_file(tmp_path, engine.url)


@pytest.fixture
def taken() -> Any:
    """A port somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def fails(folder: Path, kind: type[Exception], told: str, **settings: Any) -> None:
    platform = LocalPlatform(Settings(data_dir=str(folder), **(QUICK | settings)))
    with pytest.raises(kind, match=told):
        await platform.start()


async def works(platform: Running) -> bool:
    return (await platform.chat()).status == 200


async def test_an_answer_asked_for_on_a_topic_is_read_by_its_id_and_lies_on_no_bus(
    tmp_path: Path, config: str, engine: Upstream
) -> None:
    engine.always = answers(completion())
    async with running(tmp_path, config=config) as platform, platform.watching() as watch:
        taken = await platform.call("POST", "/v1/requests", chat(), {"x-penstock-answer": "topic"})
        ended = await platform.call("GET", f"/v1/requests/{taken.json['id']}?wait=9")
        due = await watch.next("answer-due-v1")
        names = declared(tmp_path)

    assert ("completed", taken.json["id"]) == (ended.json["status"], due["data"]["request_id"])
    assert "inference-completed-v1.caching" in names
    assert [] == [name for name in names if name.startswith("answer")]


def declared(folder: Path) -> list[str]:
    """The subscriptions whose messages the file keeps."""
    with closing(sqlite3.connect(folder / "data.db")) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM subscriptions")]


async def test_the_first_start_makes_keys_that_later_starts_keep(tmp_path: Path, config: str) -> None:
    async with running(tmp_path, config=config) as first:
        assert well_formed(first.key)
        assert await works(first)
    async with running(tmp_path, config=config) as second:
        assert (first.key, first.admin_key) == (second.key, second.admin_key)
        assert await works(second)


async def test_keys_may_be_given_instead(tmp_path: Path, config: str) -> None:
    given = mint()
    async with running(tmp_path, config=config, api_key=given) as platform:
        assert given == platform.key
        assert await works(platform)
        assert not (tmp_path / "api-key").exists()


async def test_a_key_that_is_none_is_told_with_the_place_it_came_from(tmp_path: Path, config: str) -> None:
    await fails(tmp_path, Invalid, "PENSTOCK_API_KEY is not an API key", config=config, api_key="hello")
    (tmp_path / "api-key").write_text("hello\n")
    await fails(tmp_path, Invalid, "api-key is not an API key", config=config)


async def test_a_revoked_development_key_stays_revoked_and_another_is_made(
    tmp_path: Path, config: str
) -> None:
    async with running(tmp_path, config=config) as first:
        keys = (await first.admin("GET", "/keys"))["data"]
        (mine,) = [key["id"] for key in keys if key["name"] == "development"]
        await first.admin("POST", f"/keys/{mine}/revoke")
    async with running(tmp_path, config=config) as second:
        assert 401 == (await second.chat(headers={"authorization": f"Bearer {first.key}"})).status
        assert await works(second)


async def test_a_folder_is_one_platforms_alone(tmp_path: Path, config: str) -> None:
    async with running(tmp_path, config=config) as first:
        await fails(tmp_path, Conflict, f"Another penstock runs on .* at {first.url}", config=config)
        assert await works(first)
    async with running(tmp_path, config=config) as second:
        assert await works(second)


async def test_a_taken_port_is_told_with_the_option_that_chooses_another(
    tmp_path: Path, config: str, taken: int
) -> None:
    await fails(tmp_path, Conflict, f"port {taken} .* --port", config=config, port=taken)
    await fails(tmp_path, Conflict, f"port {taken} .* --metrics-port", config=config, metrics_port=taken)


async def test_an_address_that_is_not_there_is_told(tmp_path: Path, config: str) -> None:
    await fails(tmp_path, Invalid, "192.0.2.1", config=config, host="192.0.2.1")
    await fails(tmp_path, Invalid, "no.such.host.invalid", config=config, host="no.such.host.invalid")


async def test_a_failed_start_leaves_nothing_behind(tmp_path: Path, config: str, taken: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    await fails(tmp_path, Conflict, "taken", config=config, port=port, metrics_port=taken)

    async with running(tmp_path, config=config, port=port) as platform:
        assert port == platform.port
        assert await works(platform)


async def test_a_usual_metrics_port_that_is_taken_is_given_up_for_another(
    tmp_path: Path, config: str
) -> None:
    async with (
        running(tmp_path / "a", config=config, metrics_port=None) as first,
        running(tmp_path / "b", config=config, metrics_port=None) as second,
    ):
        assert first.metrics_url != second.metrics_url


async def test_a_folder_that_cannot_be_is_told(tmp_path: Path, config: str) -> None:
    (tmp_path / "file").write_text("")
    await fails(tmp_path / "file", Invalid, "cannot be made", config=config)


async def test_a_bad_engine_in_the_document_is_told(tmp_path: Path) -> None:
    config = config_file(tmp_path, "http://127.0.0.1:99999")
    await fails(tmp_path, Invalid, "is not a base URL", config=config)
