"""`penstock chat`, `publish`, `usage` and `events` against a running platform."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio.to_thread
import pytest

from tests.services.cli.conftest import Command
from tests.support.command import started
from tests.support.platform import Running, config_file, running
from tests.support.rehearsing import MODEL
from tests.support.upstream import Script, begins, closes, resets, upstream
from tests.support.wire import chat, delta

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

NOTICE = "This is a rehearsal"

Result = TypeVar("Result")


async def test_chat_prints_the_answer(command: Command) -> None:
    asked = await command("chat", "What is a penstock?")

    assert (0, "") == (asked.code, asked.err)
    assert asked.out.startswith(NOTICE)
    assert asked.out.endswith(".\n")


async def test_chat_reads_its_question_from_standard_input(command: Command) -> None:
    assert "“From a pipe.”" in (await command("chat", given=b"From a pipe.")).out


async def test_chat_prints_events_for_scripts(command: Command) -> None:
    lines = (await command("chat", "Hi.", "--model", MODEL, "--json")).out.splitlines()

    assert {"chat.completion.chunk"} == {json.loads(line)["object"] for line in lines}


async def test_chat_with_a_model_that_is_not_there_says_which_are(command: Command) -> None:
    assert f"Models: {MODEL}." in (await command("chat", "Hi.", "--model", "gpt-9")).sentence


async def test_an_answer_that_breaks_off_is_told_after_its_words(tmp_path: Path) -> None:
    async with upstream() as engine, running(tmp_path, config=config_file(tmp_path, engine.url)):
        engine.will(begins(delta("Half an"), then=closes))
        with started("chat", "Hi.", "--data-dir", str(tmp_path)) as process:
            asked = await anyio.to_thread.run_sync(process.end)

    assert "Half an" in asked.out
    assert "broke off" in asked.sentence


@pytest.mark.parametrize("then", [closes, resets])
async def test_a_platform_that_dies_in_the_middle_of_an_answer_is_told(then: Script) -> None:
    async with upstream() as platform:
        platform.will(begins(delta("Half an"), then=then))
        where = {"PENSTOCK_URL": platform.url, "PENSTOCK_API_KEY": "psk_1"}
        with started("chat", "Hi.", "--model", "gemma", **where) as process:
            asked = await anyio.to_thread.run_sync(process.end)

    assert asked.sentence


@pytest.mark.parametrize("then", [closes, resets])
async def test_a_platform_that_dies_before_it_answers_is_told(then: Script) -> None:
    async with upstream() as platform:
        platform.will(then)
        where = {"PENSTOCK_URL": platform.url, "PENSTOCK_ADMIN_KEY": "pak_1"}
        with started("usage", **where) as process:
            asked = await anyio.to_thread.run_sync(process.end)

    assert "penstock up" in asked.sentence


async def test_usage_shows_what_was_asked(platform: Running, command: Command) -> None:
    await command("chat", "What is a penstock?")
    row = await platform.usage()
    table = await command("usage")
    rows = (await command("usage", "--tenant", "default", "--model", MODEL, "--json")).json

    assert [row] == rows
    assert all(str(row[name]) in table.out for name in ("day", "tenant", "key", "model", "input_tokens"))
    assert [] == (await command("usage", "--until", "2020-01-01", "--json")).json
    assert "No usage yet.\n" == (await command("usage", "--tenant", "nobody")).out
    assert "is not a day like" in (await command("usage", "--since", "yesterday")).sentence


async def test_publish_waits_and_prints_the_answer(command: Command) -> None:
    assert (await command("publish", "--prompt", "Hi.", "--wait")).out.startswith(NOTICE)


async def test_publish_prints_where_the_answer_will_be(platform: Running, command: Command) -> None:
    body = chat("Hi.", model=MODEL).decode()
    name = (await command("publish", body, "--idempotency-key", "one")).out.strip()
    again = (await command("publish", "-", "--idempotency-key", "one", "--json", given=body.encode())).json
    read = await platform.call("GET", f"/v1/requests/{name}?wait=10")

    assert name == again["request_id"]
    assert "completed" == read.json["status"]


async def test_publish_reads_its_body_from_a_file(tmp_path: Path, command: Command) -> None:
    (tmp_path / "body.json").write_bytes(chat("Hi.", model=MODEL))
    done = await command("publish", f"@{tmp_path / 'body.json'}", "--wait", "--json")

    assert ("completed", 200) == (done.json["status"], done.json["response"]["status_code"])


async def test_what_was_published_in_vain_is_told_in_a_sentence(command: Command) -> None:
    assert "failed: The body is not valid JSON" in (await command("publish", "hello", "--wait")).sentence
    assert "penstock tenants create." in (await command("publish", "{}", "--tenant", "nobody")).sentence
    assert "cannot be read" in (await command("publish", "@no/such/file")).sentence


async def test_waiting_for_what_this_key_can_never_read_ends(platform: Running, command: Command) -> None:
    await platform.admin("POST", "/tenants", {"id": "acme"})
    asked = await command("publish", "--prompt", "Hi.", "--tenant", "acme", "--wait")
    assert "Another tenant's key cannot" in asked.sentence

    wrong = await command("publish", "{}", "--wait", PENSTOCK_API_KEY="sk-wrong")
    assert "mistyped" in wrong.sentence


async def while_chatting(platform: Running, wait: Callable[[], Result]) -> Result:
    """What a command waits for, while the platform is talked to: the command may still be connecting."""
    waiting = asyncio.ensure_future(anyio.to_thread.run_sync(wait))
    while not waiting.done():
        await platform.chat(model=MODEL)
        await asyncio.wait([waiting], timeout=0.05)
    return await waiting


async def test_events_are_told_as_they_are_published(platform: Running) -> None:
    where = ("--data-dir", str(platform.folder))
    with started("events", "tail", "--type", "usage", "--count", "2", "--json", *where) as tail:
        told = await while_chatting(platform, tail.end)
    lines = [json.loads(line) for line in told.out.splitlines()]

    assert 0 == told.code
    assert ["usage-recorded-v1"] * 2 == [line["topic"] for line in lines]
    assert {"started", "completed"} >= {
        record["kind"] for line in lines for record in line["data"]["records"]
    }


async def test_events_are_told_to_people_in_lines(platform: Running) -> None:
    where = ("--data-dir", str(platform.folder))
    with started("events", "tail", "--count", "2", "--type", "usage", *where) as tail:
        told = await while_chatting(platform, tail.end)

    assert "usage-recorded-v1" in told.out
    assert "=1" in told.out


async def test_a_tail_ends_in_a_sentence_when_its_platform_does(platform: Running) -> None:
    with started("events", "tail", "--data-dir", str(platform.folder)) as tail:
        await while_chatting(platform, tail.line)
        await platform.platform.stop()
        told = await anyio.to_thread.run_sync(tail.end)

    assert "ended" in told.sentence
