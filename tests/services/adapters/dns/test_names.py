"""Names asked of a real server: what it lists, for how long, and what is told where it lists nothing."""

from collections.abc import AsyncIterator

import pytest

from events.words import Unavailable
from services.adapters.dns import names as adapter
from services.adapters.dns.names import DnsNames
from tests.support.names import NameServer, name_server

pytestmark = pytest.mark.anyio

HOST = "engines.pool.svc"


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with name_server() as made:
        yield made


@pytest.fixture
def names(server: NameServer) -> DnsNames:
    return DnsNames(("127.0.0.1",), server.port, lookup_s=0.3)


async def test_the_addresses_of_a_name_are_found_with_their_time_to_live(
    server: NameServer, names: DnsNames
) -> None:
    server.listed[HOST] = ["10.0.0.1", "10.0.0.2"]
    server.ttl_s = 7
    found = await names.find(HOST)
    assert {"10.0.0.1", "10.0.0.2"} == set(found.addresses)
    assert 0 < found.ttl_s <= 7


async def test_they_are_asked_for_anew(server: NameServer, names: DnsNames) -> None:
    for address in ("10.0.0.1", "10.0.0.2"):
        server.listed[HOST] = [address]
        assert (address,) == (await names.find(HOST)).addresses


async def test_an_engine_with_both_kinds_of_address_counts_once(server: NameServer, names: DnsNames) -> None:
    server.listed[HOST] = ["10.0.0.1", "fd00::1"]
    assert ("10.0.0.1",) == (await names.find(HOST)).addresses
    server.listed[HOST] = ["fd00::1"]
    assert ("fd00::1",) == (await names.find(HOST)).addresses


async def test_a_long_list_comes_by_tcp(server: NameServer, names: DnsNames) -> None:
    server.listed[HOST] = [f"10.0.1.{one}" for one in range(200)]
    assert 200 == len((await names.find(HOST)).addresses)
    assert 1 == server.by_tcp


async def test_a_name_that_is_not_there_says_so(names: DnsNames) -> None:
    with pytest.raises(Unavailable, match="the name does not exist"):
        await names.find(HOST)


async def test_a_name_without_addresses_says_so(server: NameServer, names: DnsNames) -> None:
    server.listed[HOST] = []
    with pytest.raises(Unavailable, match="the name has no address"):
        await names.find(HOST)


async def test_a_server_that_is_silent_or_broken_is_told(server: NameServer, names: DnsNames) -> None:
    server.silent = True
    with pytest.raises(Unavailable, match="no server answers"):
        await names.find(HOST)
    server.silent, server.broken = False, True
    with pytest.raises(Unavailable, match="no server answers"):
        await names.find(HOST)


async def test_by_default_the_servers_of_this_machine_are_asked() -> None:
    assert adapter._resolver((), 53).nameservers
