"""What is left after a process ended, by itself or by force."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import services
from events.bus import Message
from events.catalog import Retry, Subscription
from events.requests import RequestDocument
from events.usage import UsageRecorded
from events.words import ApiKey, Conflict, Tenant
from services.adapters.sqlite.bodies import SqliteBodies
from services.adapters.sqlite.bus import SqliteBus
from services.adapters.sqlite.data_keys import SqliteDataKeys
from services.adapters.sqlite.keys import SqliteKeys
from services.adapters.sqlite.ledger import SqliteUsageLedger
from services.adapters.sqlite.requests import SqliteRequests
from tests.contracts.adapters import START, Clock, data_file

pytestmark = pytest.mark.anyio

SUBSCRIPTION = Subscription(topic="news", consumer="reader", retry=Retry(attempts=3))
READER = SUBSCRIPTION.name

PRELUDE = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from events.bus import Message
from events.catalog import Retry, Subscription
from services.adapters.sqlite.bus import SqliteBus
from services.adapters.sqlite.database import Database
from services.adapters.sqlite.schema import DATA

def message(text):
    return Message(topic="news", attributes={"ce-id": text}, data=text.encode())

async def opened():
    bus = await SqliteBus.open(Database(Path(sys.argv[1]), DATA), lambda: datetime.now(UTC))
    await bus.ensure([Subscription(topic="news", consumer="reader", retry=Retry(attempts=3))])
    return bus
"""
ONE_WAITING_THEN_KILLED = """
async def main():
    bus = await opened()
    receiver = asyncio.create_task(bus.receive("news.reader", 1))
    await asyncio.sleep(0.02)
    await bus.publish([message("a"), message("b")])
    assert [found.data for found in await receiver] == [b"a"]
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
PUBLISHING_WITHOUT_END = """
async def publish(bus, writer):
    number = 0
    while True:
        await bus.publish([message(f"{writer}-{number}")])
        print(f"{writer}-{number}", flush=True)
        number += 1

async def main():
    bus = await opened()
    await asyncio.gather(*(publish(bus, writer) for writer in range(16)))

asyncio.run(main())
"""


def child(script: str, folder: Path) -> subprocess.Popen[str]:
    root = str(Path(services.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, str(folder / "data.db")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )


async def receive(bus: SqliteBus, limit: int) -> list[Message]:
    async with asyncio.timeout(5):
        return await bus.receive(READER, limit)


async def test_what_was_published_before_a_kill_is_delivered_after_it(tmp_path: Path) -> None:
    with child(ONE_WAITING_THEN_KILLED, tmp_path) as process:
        assert process.wait(20) == -signal.SIGKILL
    async with data_file(tmp_path) as database:
        bus = await SqliteBus.open(database, Clock())
        found = await receive(bus, 10)

    assert [(message.data, message.attempt) for message in found] == [(b"a", 2), (b"b", 1)]


async def test_everything_acknowledged_to_many_publishers_survives_a_kill(tmp_path: Path) -> None:
    with child(PUBLISHING_WITHOUT_END, tmp_path) as process:
        assert process.stdout is not None
        acknowledged = {process.stdout.readline().strip() for _ in range(500)}
        process.kill()
        acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
    async with data_file(tmp_path) as database:
        bus = await SqliteBus.open(database, Clock())
        found = await receive(bus, 1_000_000)

    assert len(acknowledged) >= 500
    assert acknowledged <= {message.data.decode() for message in found}


async def test_a_message_that_ends_its_process_each_time_becomes_a_dead_letter(tmp_path: Path) -> None:
    clock = Clock()
    attempts: list[int] = []
    for _ in range(3):
        async with data_file(tmp_path) as database:
            bus = await SqliteBus.open(database, clock)
            await bus.ensure([SUBSCRIPTION])
            if not attempts:
                await bus.publish([Message(topic="news", attributes={}, data=b"poison")])
            attempts += [message.attempt for message in await receive(bus, 1)]
    async with data_file(tmp_path) as database:
        bus = await SqliteBus.open(database, clock)
        await bus.publish([Message(topic="news", attributes={}, data=b"good")])
        found = await receive(bus, 10)
        dead = await bus.dead_letters(10)

    assert attempts == [1, 2, 3]
    assert [message.data for message in found] == [b"good"]
    assert [letter.message.data for letter in dead] == [b"poison"]


async def test_backoffs_and_dead_letters_outlive_the_process(tmp_path: Path) -> None:
    clock = Clock()
    async with data_file(tmp_path) as database:
        bus = await SqliteBus.open(database, clock)
        await bus.ensure([SUBSCRIPTION])
        await bus.publish([Message(topic="news", attributes={}, data=text) for text in (b"slow", b"bad")])
        slow, bad = await receive(bus, 2)
        await bus.nack(READER, slow.id)
        await bus.dead_letter(READER, bad.id, "not JSON")
    async with data_file(tmp_path) as database:
        bus = await SqliteBus.open(database, clock)
        (letter,) = await bus.dead_letters(10)
        await bus.replay(letter.id)
        first = await receive(bus, 10)
        clock.forward(1)
        second = await receive(bus, 10)

    assert (letter.message, letter.reason) == (bad, "not JSON")
    assert [message.data for message in first] == [b"bad"]
    assert [(message.data, message.attempt) for message in second] == [(b"slow", 2)]


async def test_every_store_remembers(tmp_path: Path) -> None:
    clock = Clock()
    key = ApiKey(hash="h", id="k", tenant="acme", name="laptop", created_at=START)
    tenant = Tenant(id="acme", name="Acme", created_at=START)
    page = msgspec.json.encode(UsageRecorded(producer="r", records=()))
    later = clock.forward(10)
    document = _document()
    async with data_file(tmp_path) as database:
        await SqliteKeys(database).add(key)
        await SqliteKeys(database).add_tenant(tenant)
        await SqliteBodies(database, clock).put("b", b"sealed", clock.time.replace(year=2028))
        await SqliteUsageLedger(database, clock).append("p", page, "r", ())
        created = await SqliteRequests(database, clock).create(document)
    async with data_file(tmp_path) as database:
        assert await SqliteKeys(database).by_hash("h") == key
        assert await SqliteKeys(database).tenants() == [tenant]
        assert await SqliteKeys(database).revision() == 2
        assert await SqliteBodies(database, clock).get("b") == b"sealed"
        assert [stored.stored_at for stored in await SqliteUsageLedger(database, clock).pages()] == [later]
        assert not await SqliteUsageLedger(database, clock).append("p", page, "r", ())
        assert await SqliteRequests(database, clock).get("r1") == created


def pieces_left(secret: bytes, folder: Path) -> bool:
    stored = b"".join(file.read_bytes() for file in folder.iterdir())
    return any(secret[start : start + 8] in stored for start in range(len(secret) - 8))


async def test_an_erased_data_key_is_in_no_file_any_more(tmp_path: Path) -> None:
    wrapped = os.urandom(64)
    keys = SqliteDataKeys.open(tmp_path / "keys.db")
    await keys.create("acme", wrapped)
    await keys.create("zeta", b"z")
    assert pieces_left(wrapped, tmp_path)
    await keys.erase("acme")
    assert not pieces_left(wrapped, tmp_path)
    await keys.close()

    keys = SqliteDataKeys.open(tmp_path / "keys.db")
    with pytest.raises(Conflict):
        await keys.create("acme", b"b")
    assert await keys.get("zeta") == b"z"
    await keys.close()


def _document() -> RequestDocument:
    return RequestDocument(
        id="r1",
        tenant="acme",
        key_id="k",
        url="/v1/chat/completions",
        model="gemma",
        lane="batch",
        state="accepted",
        created_at=START,
        deadline_at=START.replace(year=2028),
        expire_at=START.replace(year=2029),
        body_id="r1-prompt",
    )
