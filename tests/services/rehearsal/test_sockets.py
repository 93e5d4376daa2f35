"""Clients that leave, dawdle, or speak one byte at a time."""

import asyncio
import socket
from pathlib import Path

import msgspec
import pytest

from services.rehearsal.profiles import INSTANT, QUICK, Steady
from tests.services.rehearsal.talk import CHAT, Talk, ask, engine, parsed, request, tokens_in, until

pytestmark = pytest.mark.anyio


async def test_a_client_that_leaves_stops_its_answer_and_frees_the_slot(tmp_path: Path) -> None:
    one_slot = msgspec.structs.replace(QUICK, slots=1)
    async with engine(tmp_path, profile=one_slot) as talk:
        body = ask(stream=True, max_tokens=2000, ignore_eos=True)
        reader, writer = await talk.open(request(CHAT, body, {"x-penstock-attempt": "leaves"}))
        seen = b""
        while tokens_in(seen) < 3:
            seen += await reader.read(65536)
        waiting = asyncio.create_task(talk.chat("stays", max_tokens=1))
        await until(lambda: len(talk.accepted()) == 2)
        writer.transport.abort()

        assert 200 == (await waiting).status
        row = await talk.end_of("leaves")
        assert "cancelled" == row.outcome
        assert tokens_in(seen) <= row.sent_tokens == row.completion_tokens < 2000
        assert {"running": [], "waiting": [], "held": []} == await talk.state()


async def test_a_client_that_leaves_the_line_never_gets_a_slot(tmp_path: Path) -> None:
    one_slot = msgspec.structs.replace(INSTANT, slots=1)
    async with engine(tmp_path, profile=one_slot) as talk:
        await talk.control("hold", phase="first_token")
        _, holding = await talk.open(request(CHAT, ask(), {"x-penstock-attempt": "holds"}))
        await until(lambda: len(talk.accepted()) == 1)
        _, waiting = await talk.open(request(CHAT, ask(), {"x-penstock-attempt": "leaves"}))
        await until(lambda: len(talk.accepted()) == 2)
        waiting.transport.abort()
        row = await talk.end_of("leaves")
        assert ("cancelled", 0, 0) == (row.outcome, row.completion_tokens, row.sent_tokens)
        assert {"running": [], "waiting": [], "held": [{"attempt": "holds", "phase": "first_token"}]} == (
            await talk.state()
        )
        holding.close()


async def dawdler(talk: Talk, body: bytes, attempt: str) -> socket.socket:
    """A client with a small window that has asked and does not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", talk.port))
    await loop.sock_sendall(sock, request(CHAT, body, {"x-penstock-attempt": attempt, "connection": "close"}))
    return sock


TOKENS = 120_000  # far more than all buffers on the way take


async def test_a_client_that_does_not_read_is_not_written_to(tmp_path: Path) -> None:
    async with engine(tmp_path) as talk:
        body = ask(stream=True, max_tokens=TOKENS, ignore_eos=True)
        with await dawdler(talk, body, "dawdles"):
            await until(lambda: len(talk.accepted()) == 1)
            assert 200 == (await talk.chat("other")).status  # others are served meanwhile
            assert ["dawdles"] == (await talk.state())["running"]
        row = await talk.end_of("dawdles")
        assert ("cancelled", TOKENS) == (row.outcome, row.completion_tokens)
        assert row.sent_tokens < TOKENS


async def test_a_client_that_reads_again_gets_everything(tmp_path: Path) -> None:
    tokens = TOKENS // 4
    async with engine(tmp_path) as talk:
        body = ask(stream=True, max_tokens=tokens, ignore_eos=True)
        with await dawdler(talk, body, "dawdles") as sock:
            await until(lambda: len(talk.accepted()) == 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
            data = bytearray()
            while piece := await asyncio.get_running_loop().sock_recv(sock, 2**20):
                data += piece
        reply = parsed(bytes(data))
        assert reply.whole
        assert tokens == tokens_in(reply.body)
        row = await talk.end_of("dawdles")
        assert ("finished", tokens, tokens) == (row.outcome, row.completion_tokens, row.sent_tokens)


async def test_a_slow_reader_does_not_keep_its_slot(tmp_path: Path) -> None:
    async with engine(tmp_path, profile=msgspec.structs.replace(INSTANT, slots=1)) as talk:
        with await dawdler(talk, ask(stream=True, max_tokens=TOKENS, ignore_eos=True), "dawdles"):
            await until(lambda: len(talk.accepted()) == 1)
            assert 200 == (await talk.chat("next")).status


async def test_requests_may_come_one_byte_at_a_time_and_in_a_row() -> None:
    async with engine() as talk:
        asked = [request(CHAT, ask("first"))]
        asked.append(request(CHAT, ask("second", stream=True, max_tokens=5), {"connection": "close"}))
        reader, writer = await talk.open()
        for byte in b"".join(asked):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        data = await reader.read(-1)
        writer.close()
        first, rest = data[: data.index(b"HTTP/1.1", 1)], data[data.index(b"HTTP/1.1", 1) :]
        assert "first" in parsed(first).json["choices"][0]["message"]["content"]
        assert 5 == tokens_in(parsed(rest).body)


async def test_requests_sent_at_once_are_answered_in_order() -> None:
    async with engine(profile=msgspec.structs.replace(QUICK, pace=Steady(token_s=0.0005))) as talk:
        asked = [request(CHAT, ask(f"number {n}", max_tokens=60)) for n in range(3)]
        reader, writer = await talk.open(b"".join(asked) + request("/v1/end", b"", {"connection": "close"}))
        data = (await reader.read(-1)).decode()
        writer.close()
        assert sorted(data.index(f"number {n}") for n in range(3)) == [
            data.index(f"number {n}") for n in range(3)
        ]


async def test_many_streams_keep_their_pace() -> None:
    paced = msgspec.structs.replace(QUICK, slots=None, pace=Steady(token_s=0.01))
    async with engine(profile=paced) as talk:
        began = asyncio.get_running_loop().time()
        replies = await asyncio.gather(
            *(talk.chat(content=f"{n}", stream=True, max_tokens=20, ignore_eos=True) for n in range(100))
        )
        took = asyncio.get_running_loop().time() - began
        assert [20] * 100 == [tokens_in(reply.body) for reply in replies]
        assert 0.2 <= took + 0.001 < 100 * 0.2 / 2  # one after the other would take that
