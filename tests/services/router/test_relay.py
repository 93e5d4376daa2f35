"""What an engine gets of a call, what its caller gets of the answer, and what the ledger counts."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.services.router.refusing import REQUEST_ID
from tests.support import wire
from tests.support.platform import CHAT, Running, config_file, running
from tests.support.upstream import Script, Upstream, answers, begins, closes, says, streams
from tests.support.wire import DONE, chat, completion, delta, usage, usage_event

pytestmark = pytest.mark.anyio

HELLO = (delta("Hel"), delta("lo."))


async def counted(platform: Running) -> tuple[int, int, int]:
    """Input, output and estimated tokens of the one request so far."""
    row = await platform.usage()
    assert 1 == row["requests"]
    return row["input_tokens"], row["output_tokens"], row["estimated_tokens"]


async def test_an_answer_passes_byte_for_byte(platform: Running, engine: Upstream) -> None:
    body = b' {"id":"x", "choices" : [ ],"odd":1.0e2,\n"usage":{"prompt_tokens":7,"completion_tokens":3}} '
    engine.will(answers(body))
    answer = await platform.chat()

    assert (200, body) == (answer.status, answer.body)
    assert "application/json" == answer.headers["content-type"]
    assert (7, 3, 0) == await counted(platform)


async def test_a_call_passes_byte_for_byte(platform: Running, engine: Upstream) -> None:
    body = b'{ "model":"gemma", "messages":[{"role":"user","content":"h\\u00e9"}],"top_k":40, "x":{ } }'
    await platform.call("POST", CHAT, body)

    assert body == engine.calls[0].body


async def test_a_model_is_called_by_the_name_its_engine_knows(tmp_path: Path, engine: Upstream) -> None:
    config = config_file(tmp_path, engine.url, served_as="hub/gemma3:4b")
    async with running(tmp_path, config=config) as platform:
        await platform.chat(temperature=0.1)

    assert json.loads(chat(temperature=0.1)) | {"model": "hub/gemma3:4b"} == engine.calls[0].json


async def test_an_engine_is_told_which_attempt_it_serves(platform: Running, engine: Upstream) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await platform.chat(headers={"traceparent": trace, "x-custom": "1", "cookie": "a=b"})
    got = engine.calls[0].headers

    assert f"{answer.headers['x-request-id']}.1" == got["x-penstock-attempt"]
    assert trace == got["traceparent"]


async def test_an_engine_never_sees_a_callers_key_or_cookies(platform: Running, engine: Upstream) -> None:
    await platform.chat(headers={"cookie": "session=1", "x-forwarded-for": "10.0.0.1"})

    assert platform.key not in engine.calls[0].head.decode()
    assert {"authorization", "cookie", "x-forwarded-for"}.isdisjoint(engine.calls[0].headers)


async def test_a_callers_header_cannot_add_one_for_the_engine(platform: Running, engine: Upstream) -> None:
    async with platform.connected() as client:
        head = f"POST {CHAT} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {platform.key}\r\n"
        folded = "traceparent: a\r\n x-penstock-attempt: stolen\r\n"
        body = chat()
        await client.send(f"{head}{folded}content-length: {len(body)}\r\n\r\n".encode() + body)
        await client.response()

    assert not any(call.headers["x-penstock-attempt"] == "stolen" for call in engine.calls)
    assert not any("stolen" in call.head.decode().split("\r\n") for call in engine.calls)


ODD_HEADERS = {
    "connection": "x-hop",
    "x-hop": "1",
    "set-cookie": "a=b",
    "server": "uvicorn",
    "x-internal": "10.0.0.5",
    "x-request-id": "theirs",
    "www-authenticate": "Basic",
    "alt-svc": "h3",
}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engines_headers_stay_inside(platform: Running, engine: Upstream, stream: bool) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in ODD_HEADERS.items()).encode()
    head = wire.BARE_STREAM_HEAD[:-2] + lines + b"\r\n"
    engine.will(says(head, *HELLO, DONE, then=closes) if stream else answers(headers=ODD_HEADERS))
    answer = await platform.chat(stream=stream)

    assert 200 == answer.status
    assert REQUEST_ID.fullmatch(answer.headers["x-request-id"])
    expected = {"date", "x-request-id", "x-penstock-route", "content-type", "connection"}
    expected |= {"cache-control", "transfer-encoding"} if stream else {"content-length"}
    assert expected == set(answer.headers)
    assert "close" == answer.headers["connection"]  # ours: the caller asked for it


async def test_a_stream_passes_event_by_event(platform: Running, engine: Upstream) -> None:
    engine.will(streams(*HELLO, usage_event(7, 3), DONE))
    answer = await platform.chat(stream=True)

    assert b"".join((*HELLO, DONE)) == answer.body
    assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
    assert (7, 3, 0) == await counted(platform)


async def test_an_event_reaches_the_caller_before_the_next_is_made(
    platform: Running, engine: Upstream
) -> None:
    engine.will(begins(HELLO[0]))
    async with platform.connected() as client:
        await client.send(wire.request("POST", CHAT, chat(stream=True), platform.keyed()))
        await client.head()

        assert HELLO[0] == await client.chunk()
        call = await engine.call()
        await call.send(wire.chunk(HELLO[1]))
        assert HELLO[1] == await client.chunk()


async def test_a_stream_cut_at_every_byte_comes_out_in_whole_events(
    platform: Running, engine: Upstream
) -> None:
    stream = b"".join((*HELLO, usage_event(7, 3), DONE))
    engine.will(says(wire.STREAM_HEAD, *wire.chunked(stream[at : at + 1] for at in range(len(stream)))))
    async with platform.connected() as client:
        await client.send(wire.request("POST", CHAT, chat(stream=True), platform.keyed()))
        await client.head()
        pieces = [piece async for piece in pieces_of(client)]

    assert b"".join((*HELLO, DONE)) == b"".join(pieces)
    assert all(piece.endswith(b"\n\n") for piece in pieces)
    assert (7, 3, 0) == await counted(platform)


async def pieces_of(client: Any) -> Any:
    while piece := await client.chunk():
        yield piece


async def test_a_stream_of_crlf_events_passes_as_it_is(platform: Running, engine: Upstream) -> None:
    events = [event.replace(b"\n", b"\r\n") for event in (*HELLO, usage_event(7, 3), DONE)]
    engine.will(streams(*events))
    answer = await platform.chat(stream=True)

    assert events[0] + events[1] + events[3] == answer.body
    assert (7, 3, 0) == await counted(platform)


ENDS: dict[str, Script] = {
    "a missing blank line": streams(*HELLO, usage_event(7, 3), b"data: [DONE]"),
    "a single line break": streams(*HELLO, usage_event(7, 3), b"data: [DONE]\n"),
    "the close of the connection": says(wire.BARE_STREAM_HEAD, *HELLO, usage_event(7, 3), DONE, then=closes),
    "a hang-up right behind it": begins(*HELLO, usage_event(7, 3), DONE, then=closes),
}


@pytest.mark.parametrize("script", ENDS.values(), ids=ENDS)
async def test_a_stream_that_was_told_whole_is_whole_however_it_ends(
    platform: Running, engine: Upstream, script: Script
) -> None:
    engine.will(script)

    assert b"".join((*HELLO, DONE)) == (await platform.chat(stream=True)).body
    assert (7, 3, 0) == await counted(platform)


async def test_a_caller_that_asked_for_the_usage_gets_it(platform: Running, engine: Upstream) -> None:
    events = (*HELLO, usage_event(7, 3), DONE)
    engine.will(streams(*events))
    answer = await platform.chat(stream=True, stream_options={"include_usage": True})

    assert b"".join(events) == answer.body
    assert (7, 3, 0) == await counted(platform)


USAGES = {
    "in every event": (delta("a", usage=usage(7, 1)), delta("b", usage=usage(7, 3)), DONE),
    "null until the end": (delta("a", usage=None), delta("b", usage=None), usage_event(7, 3), DONE),
    "beside the last words": (delta("a"), delta("b", usage=usage(7, 3)), DONE),
    "before the last words": (delta("a"), usage_event(7, 3), delta("b"), DONE),
}


@pytest.mark.parametrize("events", USAGES.values(), ids=USAGES)
async def test_usage_is_exact_wherever_an_engine_tells_it(
    platform: Running, engine: Upstream, events: tuple[bytes, ...]
) -> None:
    engine.will(streams(*events))
    answer = await platform.chat(stream=True)

    assert "ab" == wire.text_of(answer.body)
    assert (7, 3, 0) == await counted(platform)


async def test_a_stream_that_tells_no_usage_is_counted_by_a_visible_estimate(
    platform: Running, engine: Upstream
) -> None:
    engine.will(streams(delta(""), delta("a"), delta("b"), DONE))
    await platform.chat("x" * 40, stream=True)

    assert (10, 2, 12) == await counted(platform)


async def test_an_answer_that_tells_no_usage_is_counted_by_a_visible_estimate(
    platform: Running, engine: Upstream
) -> None:
    engine.will(answers(completion()))
    await platform.chat("x" * 40)

    row = await platform.usage()
    assert 10 == row["input_tokens"]
    assert row["input_tokens"] + row["output_tokens"] == row["estimated_tokens"] > 0


async def test_calls_on_one_connection_are_counted_each(platform: Running, engine: Upstream) -> None:
    engine.always = answers(completion(usage=usage(5, 2)))
    async with platform.connected() as client:
        for _ in range(10):
            assert 200 == (await client.ask("POST", CHAT, chat(), platform.keyed())).status

    row = await platform.usage(10)
    assert (10, 50, 20, 0) == tuple(
        row[name] for name in ("requests", "input_tokens", "output_tokens", "estimated_tokens")
    )


async def test_an_engine_that_streams_unasked_is_relayed_all_the_same(
    platform: Running, engine: Upstream
) -> None:
    engine.will(streams(*HELLO, DONE))

    assert b"".join((*HELLO, DONE)) == (await platform.chat()).body


async def test_an_engine_that_does_not_stream_though_asked_has_failed(
    platform: Running, engine: Upstream
) -> None:
    engine.will(answers(completion(usage=usage(7, 3))))
    answer = await platform.chat(stream=True)

    # A client that reads events would see an answer of nothing, and no error.
    assert (502, "engine_error") == (answer.status, answer.error["code"])


async def test_what_a_cut_stream_gave_is_billed_as_an_estimate(platform: Running, engine: Upstream) -> None:
    engine.will(begins(delta(""), delta("a"), delta("b"), then=closes))
    await platform.chat("x" * 40, stream=True)

    row = await platform.usage()
    assert (10, 2, 12) == tuple(row[name] for name in ("input_tokens", "output_tokens", "estimated_tokens"))


async def test_what_gave_no_answer_is_not_billed(platform: Running, engine: Upstream) -> None:
    engine.will(closes, answers(b"nonsense"), answers(wire.problem(), 500), begins(then=closes))
    for _ in range(4):
        assert 502 == (await platform.chat()).status
    engine.will(answers(completion(usage=usage(7, 3))))
    await platform.chat()

    row = await platform.usage()
    assert (1, 7, 3) == (row["requests"], row["input_tokens"], row["output_tokens"])


async def test_errors_are_counted_by_their_outcome(platform: Running, engine: Upstream) -> None:
    engine.will(closes, answers(wire.problem(), 500), answers())
    async with platform.watching() as watch:
        for _ in range(3):
            await platform.chat()
        outcomes = [(await watch.record("completed"))["outcome"] for _ in range(3)]

    assert ["engine_died", "engine_error", "finished"] == outcomes
    assert json.loads(completion())["object"] == "chat.completion"
