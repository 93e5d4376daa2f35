"""The addresses of a name, from the servers this machine is told to ask."""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from events.words import Unavailable
from services.pool.names import Found

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

KINDS = ("A", "AAAA")  # the first kind that is listed: the same engine may have both
LOOKUP_S = 4.0


class DnsNames:
    """Asks `servers` at `port`; those of `/etc/resolv.conf`, with its search list, where none are named."""

    def __init__(self, servers: Sequence[str] = (), port: int = 53, *, lookup_s: float = LOOKUP_S) -> None:
        self._servers = servers
        self._port = port
        self._lookup_s = lookup_s
        self._resolver: Resolver | None = None

    async def find(self, host: str) -> Found:
        """See `Names`."""
        if self._resolver is None:
            self._resolver = await asyncio.to_thread(_resolver, self._servers, self._port)
        from dns.exception import DNSException  # noqa: PLC0415  (loaded by now)

        try:
            return await _find(self._resolver, host, self._lookup_s)
        except (DNSException, OSError) as error:
            raise Unavailable(_told(error)) from error


def _resolver(servers: Sequence[str], port: int) -> "Resolver":
    """Only who names a backend by DNS pays for the import: a tenth of a second."""
    from dns.asyncresolver import Resolver  # noqa: PLC0415
    from dns.exception import DNSException  # noqa: PLC0415

    try:
        resolver = Resolver(configure=not servers)
    except (DNSException, OSError) as error:
        raise Unavailable(f"this machine does not say whom to ask ({type(error).__name__})") from error
    if servers:
        resolver.nameservers = list(servers)
        resolver.port = port
    return resolver


async def _find(resolver: "Resolver", host: str, within_s: float) -> Found:
    for kind in KINDS:
        answer = await resolver.resolve(host, kind, lifetime=within_s, search=True, raise_on_no_answer=False)
        if answer.rrset is not None:
            ttl_s = max(0.0, answer.expiration - time.time())
            return Found(addresses=tuple(record.address for record in answer.rrset), ttl_s=ttl_s)
    raise Unavailable("the name has no address")


def _told(error: Exception) -> str:
    from dns.exception import Timeout  # noqa: PLC0415
    from dns.resolver import NXDOMAIN  # noqa: PLC0415

    if isinstance(error, NXDOMAIN):
        return "the name does not exist"
    if isinstance(error, Timeout):
        return "no server answers"
    return f"no server answers properly ({type(error).__name__})"
