"""The engines that go bad below HTTP do so as they are said to."""

import asyncio

import pytest

from tests.support import wire
from tests.support.bad_engines import STREAMED, WHOLE, Fault
from tests.support.upstream import PATIENCE_S, Upstream, answers, closes, upstream

pytestmark = pytest.mark.anyio

FAULTS = {
    **{f"streamed: {name}": fault for name, fault in STREAMED.items()},
    **{f"whole: {name}": fault for name, fault in WHOLE.items()},
}
ASKED = wire.request("POST", "/v1/chat/completions", wire.chat())


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_sends_what_it_says_and_ends_as_it_says(name: str) -> None:
    fault = FAULTS[name]
    async with upstream() as engine:
        engine.will(fault)
        reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
        writer.write(ASKED)
        async with asyncio.timeout(PATIENCE_S):
            await ENDS[fault.then](fault, engine, reader, writer)
        writer.transport.abort()


async def hung(
    fault: Fault, engine: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await whole(fault, reader)
    assert 1 == engine.connections


async def closed(
    fault: Fault, engine: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    assert b"".join(fault.pieces) == await reader.read(-1)


async def reset(
    fault: Fault, engine: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with pytest.raises(ConnectionResetError):
        await whole(fault, reader)
        await reader.read(-1)


async def stayed(
    fault: Fault, engine: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await whole(fault, reader)
    writer.write(ASKED)
    told = wire.response(wire.completion())
    assert told == await reader.readexactly(len(told))


async def goes_on(
    fault: Fault, engine: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await whole(fault, reader)
    more = 3 * fault.pieces[-1]
    assert more == await reader.readexactly(len(more))


async def whole(fault: Fault, reader: asyncio.StreamReader) -> None:
    sent = b"".join(fault.pieces)
    assert sent == await reader.readexactly(len(sent))


ENDS = {"hang": hung, "close": closed, "reset": reset, "stay": stayed, "go on": goes_on, "drip": goes_on}


async def test_a_keep_alive_ends_as_it_is_asked_again() -> None:
    async with upstream() as engine:
        engine.will(answers(), closes)
        reader, writer = await asyncio.open_connection("127.0.0.1", engine.port)
        for _ in range(2):
            writer.write(ASKED)
        told = wire.response(wire.completion())
        assert told == await asyncio.wait_for(reader.read(-1), PATIENCE_S)
        writer.close()
