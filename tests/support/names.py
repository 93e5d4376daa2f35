"""A DNS server on this machine, by UDP and TCP, that says what a test has it say."""

import asyncio
import ipaddress
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

A, AAAA = 1, 28
NXDOMAIN, SERVFAIL = 3, 2
LARGEST_BY_UDP = 512


class NameServer(asyncio.DatagramProtocol):
    """`listed` are addresses by name, as queries spell it; a name that is not there does not exist."""

    def __init__(self) -> None:
        self.listed: dict[str, list[str]] = {}
        self.ttl_s = 1
        self.silent = False
        self.broken = False
        self.port = 0
        self.by_tcp = 0
        self.asked: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.silent:
            said = self.answer(data)
            if len(said) > LARGEST_BY_UDP:  # the rest by TCP
                said = said[:2] + struct.pack("!H", 0x8380) + data[4:6] + b"\0" * 6 + _question(data)
            self._transport.sendto(said, addr)

    async def by_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.by_tcp += 1
        size = struct.unpack("!H", await reader.readexactly(2))[0]
        said = self.answer(await reader.readexactly(size))
        writer.write(struct.pack("!H", len(said)) + said)
        await writer.drain()
        writer.close()

    def answer(self, query: bytes) -> bytes:
        question = _question(query)
        name, kind = _name(question), struct.unpack("!H", question[-4:-2])[0]
        self.asked.append(name)
        found = [ipaddress.ip_address(one) for one in self.listed.get(name, ())]
        records = [one.packed for one in found if (one.version == 4) == (kind == A)]
        code = SERVFAIL if self.broken else 0 if name in self.listed else NXDOMAIN
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        rows = [b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl_s, len(one)) + one for one in records]
        return head + question + b"".join(rows)


def _question(query: bytes) -> bytes:
    return query[12 : query.index(b"\0", 12) + 5]


def _name(question: bytes) -> str:
    labels, at = [], 0
    while size := question[at]:
        labels.append(question[at + 1 : at + 1 + size].decode())
        at += 1 + size
    return ".".join(labels)


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """One that listens."""
    made = NameServer()
    stream = await asyncio.start_server(made.by_stream, "127.0.0.1", 0)
    made.port = stream.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: made, local_addr=("127.0.0.1", made.port))
    try:
        yield made
    finally:
        transport.close()
        stream.close()
