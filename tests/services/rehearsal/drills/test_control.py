"""Holds and faults as a client meets them."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.rehearsal.profiles import INSTANT
from tests.services.rehearsal.talk import (
    CHAT,
    PATIENCE_S,
    Reply,
    Talk,
    ask,
    engine,
    events,
    parsed,
    request,
    tokens_in,
    until,
)

pytestmark = pytest.mark.anyio

TOKENS = 12


async def held(talk: Talk, count: int = 1) -> list[Any]:
    """Who is held, once so many are."""
    state: dict[str, list[Any]] = {}

    async def all_are() -> bool:
        state.update(await talk.state())
        return len(state["held"]) == count

    await until(all_are)
    return state["held"]


def asking(talk: Talk, attempt: str, **fields: object) -> "asyncio.Task[Reply]":
    return asyncio.create_task(talk.chat(attempt, **{"max_tokens": TOKENS, "stream": True, **fields}))  # type: ignore[arg-type]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("phase", "made"), [("accepted", 0), ("first_token", 0), ("after_tokens", 5), ("before_end", TOKENS)]
)
async def test_an_answer_is_held_at_its_phase_until_released(
    tmp_path: Path, phase: str, made: int, stream: bool
) -> None:
    async with engine(tmp_path) as talk:
        await talk.control("hold", phase=phase, after_tokens=5)
        leaves, stays = (asking(talk, "leaves", stream=stream), asking(talk, "stays", stream=stream))
        await until(lambda: len(talk.accepted()) == 2)
        (first,) = await held(talk)
        assert phase == first["phase"]
        assert 200 == (await (stays if first["attempt"] == "leaves" else leaves)).status
        assert {"released": 1} == await talk.control("release")
        for reply in await asyncio.gather(leaves, stays):
            assert reply.whole
            assert TOKENS == (tokens_in(reply.body) if stream else reply.json["usage"]["completion_tokens"])


@pytest.mark.parametrize(
    ("phase", "made"), [("accepted", 0), ("first_token", 0), ("after_tokens", 5), ("before_end", TOKENS)]
)
async def test_who_leaves_while_held_has_what_was_made_by_then(tmp_path: Path, phase: str, made: int) -> None:
    async with engine(tmp_path, profile=msgspec.structs.replace(INSTANT, slots=1)) as talk:
        await talk.control("hold", phase=phase, after_tokens=5)
        leaving = asking(talk, "leaves")
        assert [{"attempt": "leaves", "phase": phase}] == await held(talk)
        leaving.cancel()
        row = await talk.end_of("leaves")
        assert ("cancelled", made, made) == (row.outcome, row.completion_tokens, row.sent_tokens)
        assert 200 == (await talk.chat("next")).status  # the slot is free


async def test_what_is_held_has_sent_what_comes_before_and_nothing_after() -> None:
    async with engine() as talk:
        await talk.control("hold", phase="before_end")
        answering = asking(talk, "r.1")
        await held(talk)
        assert not answering.done()
        await talk.control("release")
        reply = await answering
        assert (TOKENS, "length") == (
            tokens_in(reply.body),
            events(reply.body)[-1]["choices"][0]["finish_reason"],
        )


async def test_a_release_lets_all_go_and_holds_no_more() -> None:
    async with engine() as talk:
        await talk.control("hold", phase="first_token", count=5)
        answering = [asking(talk, f"r.{n}") for n in range(3)]
        await held(talk, 3)
        assert {"released": 3} == await talk.control("release")
        replies = [*await asyncio.gather(*answering), await talk.chat()]
        assert all(reply.whole for reply in replies)


# --- faults


async def seen(talk: Talk, fault: str, **fields: object) -> tuple[Reply, Any]:
    """What a client gets, and what the log says of it."""
    reply = await talk.chat("r.1", fault, **{"max_tokens": TOKENS, **fields})
    return reply, await talk.end_of("r.1")


@pytest.mark.parametrize("status", [429, 503])
async def test_a_status_says_when_to_come_back_only_where_that_is_asked_for(status: int) -> None:
    async with engine() as talk:
        assert "retry-after" not in (await talk.chat(fault=f"status:{status}")).headers
        assert "3" == (await talk.chat(fault=f"status:{status}:3")).headers["retry-after"]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_status_is_told_and_nothing_is_accepted(tmp_path: Path, status: int) -> None:
    async with engine(tmp_path) as talk:
        await talk.control("faults", fault="status", n=status, retry_after_s=7)
        reply = await talk.chat("r.1")
        assert (status, "7") == (reply.status, reply.headers["retry-after"])
        assert "rehearsed_fault" == reply.json["error"]["code"]
        assert [] == talk.rows()
        assert 200 == (await talk.chat("r.2")).status


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reset_before_the_head(tmp_path: Path, stream: bool) -> None:
    async with engine(tmp_path) as talk:
        reply, row = await seen(talk, "reset", stream=stream)
        assert (0, b"") == (reply.status, reply.body)
        assert ("error", 0, 0) == (row.outcome, row.completion_tokens, row.sent_tokens)


async def test_a_reset_in_mid_stream(tmp_path: Path) -> None:
    async with engine(tmp_path) as talk:
        reply, row = await seen(talk, "reset:5", stream=True)
        assert (200, 5, False) == (reply.status, tokens_in(reply.body), reply.whole)
        assert ("error", 5, 5) == (row.outcome, row.completion_tokens, row.sent_tokens)


async def test_a_reset_in_the_middle_of_a_whole_answer(tmp_path: Path) -> None:
    async with engine(tmp_path) as talk:
        reply, row = await seen(talk, "reset:5")
        assert (200, False) == (reply.status, reply.whole)
        assert reply.body.startswith(b'{"id"')
        assert ("error", 5, 0) == (row.outcome, row.completion_tokens, row.sent_tokens)


@pytest.mark.parametrize(("fault", "tokens"), [("hang", 0), ("hang:5", 5)])
async def test_a_hang_says_nothing_more_until_the_client_leaves(
    tmp_path: Path, fault: str, tokens: int
) -> None:
    async with engine(tmp_path) as talk:
        hanging = asyncio.create_task(talk.chat("r.1", fault, stream=True))
        await until(lambda: len(talk.accepted()) == 1)
        assert {"running": ["r.1"], "waiting": [], "held": []} == await talk.state()
        assert {"released": 0} == await talk.control("release")
        assert not hanging.done()
        hanging.cancel()
        row = await talk.end_of("r.1")
        assert ("cancelled", tokens, tokens) == (row.outcome, row.completion_tokens, row.sent_tokens)


@pytest.mark.parametrize(("fault", "tokens"), [("cut", TOKENS), ("cut:5", 5), ("cut:0", 0)])
async def test_a_cut_stream_ends_properly_but_is_not_done(tmp_path: Path, fault: str, tokens: int) -> None:
    async with engine(tmp_path) as talk:
        reply, row = await seen(talk, fault, stream=True, stream_options={"include_usage": True})
        assert (200, tokens, True) == (reply.status, tokens_in(reply.body), reply.whole)
        assert b"[DONE]" not in reply.body
        assert all(event["usage"] is None for event in events(reply.body))
        assert ("error", tokens) == (row.outcome, row.completion_tokens)


async def test_a_cut_whole_answer_is_half_of_it(tmp_path: Path) -> None:
    async with engine(tmp_path) as talk:
        reply, _ = await seen(talk, "cut")
        assert (200, True) == (reply.status, reply.whole)
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(reply.body)


@pytest.mark.parametrize("stream", [True, False])
async def test_garbage_is_not_json(tmp_path: Path, stream: bool) -> None:
    async with engine(tmp_path) as talk:
        reply, row = await seen(talk, "garbage", stream=stream)
        assert (200, True, "error") == (reply.status, reply.whole, row.outcome)
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(reply.body.removeprefix(b"data: "))


async def test_a_head_alone_and_then_a_reset(tmp_path: Path) -> None:
    async with engine(tmp_path) as talk:
        for stream in (True, False):
            reply = await talk.chat(fault="reset:0", stream=stream)
            assert (200, b"", False) == (reply.status, reply.body, reply.whole)


@pytest.mark.parametrize("stream", [True, False])
async def test_half_an_event_or_half_a_body_and_then_a_reset(tmp_path: Path, stream: bool) -> None:
    async with engine(tmp_path) as talk:
        reply, row = await seen(talk, "torn:3", stream=stream)
        assert (200, False, "error", 3) == (reply.status, reply.whole, row.outcome, row.completion_tokens)
        last = reply.body.rpartition(b"\n\n")[2]
        assert last.startswith(b"data: {" if stream else b"{")
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(last.removeprefix(b"data: "))


@pytest.mark.parametrize("tokens", [0, 3])
async def test_an_error_comes_as_an_event_and_the_stream_ends(tmp_path: Path, tokens: int) -> None:
    async with engine(tmp_path) as talk:
        reply, row = await seen(talk, f"error:{tokens}", stream=True)
        *told, last = [msgspec.json.decode(line[6:]) for line in reply.body.split(b"\n\n")[:-1]]
        assert (200, True, "error") == (reply.status, reply.whole, row.outcome)
        assert (tokens, "rehearsed_fault") == (max(0, len(told) - 1), last["error"]["code"])


async def test_an_error_comes_as_a_body_under_status_200(tmp_path: Path) -> None:
    async with engine(tmp_path) as talk:
        reply, row = await seen(talk, "error")
        assert (200, "error", "rehearsed_fault") == (
            reply.status,
            row.outcome,
            reply.json["error"]["code"],
        )


@pytest.mark.parametrize("stream", [True, False])
async def test_an_endless_answer_shows_that_it_is_there(tmp_path: Path, stream: bool) -> None:
    async with engine(tmp_path) as talk:
        body = ask(stream=stream, max_tokens=3)
        headers = {"x-penstock-attempt": "r.1", "x-rehearsal-fault": "endless"}
        reader, writer = await talk.open(request(CHAT, body, headers))
        for _ in range(2):
            await asyncio.wait_for(reader.readuntil(b"still here" if stream else b" \r\n"), PATIENCE_S)
        writer.transport.abort()
        assert ("cancelled", 3) == ((row := await talk.end_of("r.1")).outcome, row.completion_tokens)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_big_answer_is_valid_and_whole(tmp_path: Path, stream: bool) -> None:
    async with engine(tmp_path) as talk:
        reply, row = await seen(talk, "big:3000000", stream=stream)
        assert len(reply.body) > 3_000_000
        assert (True, "finished") == (reply.whole, row.outcome)
        if stream:
            assert TOKENS == tokens_in(reply.body)
            assert len(reply.body.split(b"\n\n")[0]) > 3_000_000
        else:
            assert TOKENS == reply.json["usage"]["completion_tokens"]


@pytest.mark.parametrize("stream", [True, False])
async def test_crumbs_are_bytes_and_the_answer_is_whole(tmp_path: Path, stream: bool) -> None:
    async with engine(tmp_path) as talk:
        body = ask(stream=stream, max_tokens=1)
        asked = request(CHAT, body, {"x-rehearsal-fault": "crumbs:0", "connection": "close"})
        reader, writer = await talk.open(asked)
        data = await asyncio.wait_for(reader.read(-1), PATIENCE_S)
        writer.close()
        reply = parsed(data)
        assert reply.whole
        assert data.count(b"\r\n1\r\n") == len(reply.body)
        assert 1 == (tokens_in(reply.body) if stream else reply.json["usage"]["completion_tokens"])


async def test_who_leaves_crumbs_gets_no_more(tmp_path: Path) -> None:
    async with engine(tmp_path) as talk:
        headers = {"x-penstock-attempt": "r.1", "x-rehearsal-fault": "crumbs:1"}
        reader, writer = await talk.open(request(CHAT, ask(max_tokens=1), headers))
        await asyncio.wait_for(reader.readuntil(b"\r\n1\r\n"), PATIENCE_S)
        writer.transport.abort()
        assert "finished" == (await talk.end_of("r.1")).outcome
        assert 200 == (await talk.chat()).status


async def test_a_drip_takes_its_time_and_is_whole(tmp_path: Path) -> None:
    async with engine(tmp_path) as talk:
        began = asyncio.get_running_loop().time()
        reply, row = await seen(talk, "drip:5", stream=True)
        assert asyncio.get_running_loop().time() - began >= TOKENS * 0.005
        assert (TOKENS, True, "finished") == (tokens_in(reply.body), reply.whole, row.outcome)


async def test_faults_by_probability_strike_some() -> None:
    async with engine(seed=3) as talk:
        await talk.control("faults", fault="status", n=500, probability=0.5)
        statuses = [(await talk.chat()).status for _ in range(40)]
        assert 10 < statuses.count(500) < 30
        assert 200 == (await talk.call("/rehearsal/faults", method="DELETE")).status
        assert {200} == {(await talk.chat()).status for _ in range(10)}


async def test_a_fault_on_a_held_answer_strikes_after_the_release(tmp_path: Path) -> None:
    async with engine(tmp_path) as talk:
        await talk.control("hold", phase="after_tokens", after_tokens=5)
        answering = asyncio.create_task(talk.chat("r.1", "reset:5", stream=True))
        await held(talk)
        await talk.control("release")
        assert (5, False) == (tokens_in((await answering).body), (await answering).whole)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("hold", {"phase": "sometime"}),
        ("hold", {}),
        ("hold", {"phase": "accepted", "typo": 1}),
        ("faults", {"fault": "explode"}),
        ("faults", {"fault": "reset", "n": -1}),
    ],
)
async def test_a_string_that_does_not_exist_is_refused(name: str, fields: dict[str, object]) -> None:
    async with engine() as talk:
        assert 400 == (await talk.call(f"/rehearsal/{name}", msgspec.json.encode(fields))).status
        assert 200 == (await talk.chat()).status


async def test_a_wish_for_a_fault_that_does_not_exist_is_refused() -> None:
    async with engine() as talk:
        reply = await talk.chat(fault="explode")
        assert (400, True) == (reply.status, "explode" in reply.json["error"]["message"])
