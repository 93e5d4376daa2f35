"""A release opens the data of every one before it, brought up to date, and loses nothing of it."""

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.adapters.sqlite.data_keys import DATA_KEYS
from services.adapters.sqlite.schema import DATA
from tests.support import client
from tests.support.platform import Running
from tests.support.rehearsing import MODEL, rehearsing

pytestmark = pytest.mark.anyio

FOLDERS = sorted(Path(__file__).parent.glob("schema-*"))
FILES = ("data.db", "data-keys.db", "master-key")


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def kept(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


@pytest.fixture
def facts(kept: Path) -> dict[str, Any]:
    """What the release told of the folder."""
    told: dict[str, Any] = json.loads((kept / "facts.json").read_text())
    return told


@pytest.fixture
async def platform(kept: Path, tmp_path: Path) -> AsyncIterator[Running]:
    """Today's platform on a copy of the folder."""
    for name in FILES:
        shutil.copyfile(kept / name, tmp_path / name)
    async with rehearsing(tmp_path) as made:
        yield made


async def read(platform: Running, name: str, key: str) -> Any:
    headers = {"authorization": f"Bearer {key}"}
    return (await client.ask(platform.port, "GET", f"/v1/requests/{name}?wait=9", headers=headers)).json


async def test_its_keys_act_and_those_revoked_do_not(platform: Running, facts: dict[str, Any]) -> None:
    statuses = {
        name: (await platform.chat(model=MODEL, headers={"authorization": f"Bearer {key}"})).status
        for name, key in facts["keys"].items()
    }

    assert {"default": 200, "calls": 200, "queued": 200, "revoked": 401} == statuses


async def test_its_sums_are_the_same(platform: Running, facts: dict[str, Any]) -> None:
    told = (await platform.admin("GET", f"/usage?until={facts['usage'][-1]['day']}"))["data"]
    known = {tuple(row[name] for name in ("day", "tenant", "key", "model")): row for row in told}

    for row in facts["usage"]:
        found = known[tuple(row[name] for name in ("day", "tenant", "key", "model"))]
        assert row == {name: found[name] for name in row}  # there may be more columns today


async def test_a_finished_request_is_read_with_its_answer(platform: Running, facts: dict[str, Any]) -> None:
    finished = facts["finished"]
    found = await read(platform, finished["id"], facts["keys"]["calls"])

    assert finished == {name: found[name] for name in finished}


async def test_a_queued_request_is_run(platform: Running, facts: dict[str, Any]) -> None:
    answered = await read(platform, facts["queued"], facts["keys"]["queued"])

    assert "completed" == answered["status"]
    assert answered["response"]["body"]["choices"]


@pytest.mark.parametrize(("name", "schema"), [("data.db", DATA), ("data-keys.db", DATA_KEYS)])
def test_there_is_a_folder_of_every_schema_that_was_released(name: str, schema: Any) -> None:
    versions = set()
    for folder in FOLDERS:
        address = f"{(folder / name).as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            versions.add(version)

    # The newest may not have been released yet.
    assert {*range(1, len(schema.steps))} <= versions
