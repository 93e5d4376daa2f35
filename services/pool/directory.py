"""Which replicas a backend has now."""

from collections.abc import Sequence
from typing import Protocol

from events.config import Backend
from services.pool.replica import Replica


class ReplicaDirectory(Protocol):
    """Knows the replicas of one backend."""

    def replicas(self) -> Sequence[Replica]:
        """Those that may be called now."""


class StaticDirectory:
    """The replicas the configuration lists."""

    def __init__(self, backend: Backend) -> None:
        self._replicas = tuple(Replica(url) for url in backend.replicas)

    def replicas(self) -> Sequence[Replica]:
        """See `ReplicaDirectory`."""
        return self._replicas
