"""Which replicas a backend has now."""

from collections.abc import Sequence
from typing import Protocol

from events.config import Backend
from services.pool.credentials import Credentials
from services.pool.held import Held
from services.pool.hosted import HostedReplica
from services.pool.names import WatchedName
from services.pool.outside import Outside
from services.pool.replica import Replica


class ReplicaDirectory(Protocol):
    """Knows the replicas of one backend. `needs` is what it has to be kept up to date about, if anything."""

    needs: Held | None

    def replicas(self) -> Sequence[Replica]:
        """Those that may be called now."""


class StaticDirectory:
    """The replicas the configuration lists."""

    def __init__(self, backend: Backend) -> None:
        self.needs: Held | None = None
        self._replicas = tuple(Replica(url) for url in backend.replicas)

    def replicas(self) -> Sequence[Replica]:
        """See `ReplicaDirectory`."""
        return self._replicas


class HostedDirectory:
    """The one endpoint of a hosted backend."""

    def __init__(self, backend: Backend, credentials: Credentials | None) -> None:
        self.needs: Held | None = credentials
        self._replicas = (HostedReplica(backend, credentials),)

    def replicas(self) -> Sequence[Replica]:
        """See `ReplicaDirectory`."""
        return self._replicas


class DnsDirectory:
    """A replica for each address DNS lists. One that it lists no more gets no new calls; those under way end
    there as they began.
    """

    def __init__(self, port: int, name: WatchedName) -> None:
        self.needs: Held | None = name
        self._name = name
        self._port = port
        self._seen: tuple[str, ...] = ()
        self._by_address: dict[str, Replica] = {}
        self._replicas: tuple[Replica, ...] = ()

    def replicas(self) -> Sequence[Replica]:
        """See `ReplicaDirectory`."""
        if self._name.addresses is not self._seen:
            self._follow(self._name.addresses)
        return self._replicas

    def _follow(self, addresses: tuple[str, ...]) -> None:
        before, self._seen = self._by_address, addresses
        self._by_address = {one: before.get(one) or Replica(self._url(one)) for one in addresses}
        self._replicas = tuple(self._by_address.values())
        for address in before.keys() - self._by_address.keys():
            before[address].retire()

    def _url(self, address: str) -> str:
        return f"http://[{address}]:{self._port}" if ":" in address else f"http://{address}:{self._port}"


def directory_of(backend: Backend, outside: Outside) -> ReplicaDirectory:
    """The directory for the way a backend is reached."""
    if backend.url:
        return HostedDirectory(backend, outside.credentials(backend))
    if backend.dns:
        host, _, port = backend.dns.rpartition(":")
        return DnsDirectory(int(port), outside.name(host))
    return StaticDirectory(backend)
