"""All backends of the configuration, ready to be called."""

import asyncio
from collections.abc import Collection, Sequence

from events.config import Config
from services.pool.directory import ReplicaDirectory, StaticDirectory
from services.pool.picker import LeastOutstanding
from services.pool.replica import Replica

TIDY_EVERY_S = 1.0


class Pool:
    """Picks a replica for a backend, and keeps the connections tidy."""

    def __init__(self, config: Config) -> None:
        self._directories: dict[str, ReplicaDirectory] = {
            name: StaticDirectory(backend) for name, backend in config.backends.items()
        }
        self._picker = LeastOutstanding()
        self._tidying: asyncio.TimerHandle | None = None

    def pick(self, backend: str, tried: Collection[Replica] = ()) -> Replica | None:
        """The replica to call next, but for those `tried` already; None where the backend has no other."""
        return self._picker.pick(self._directories[backend].replicas(), tried)

    def is_out(self, backend: str) -> bool:
        """Whether all its replicas are put aside, and none is due for a trial."""
        for replica in self._directories[backend].replicas():
            if not replica.aside_until or replica.aside_until <= replica.now():
                return False
        return True

    def replicas(self, backend: str) -> Sequence[Replica]:
        """Those of a backend that may be called now."""
        return self._directories[backend].replicas()

    def start(self) -> None:
        """Begins housekeeping."""
        self._tidying = asyncio.get_running_loop().call_later(TIDY_EVERY_S, self._tidy)

    def _tidy(self) -> None:
        for directory in self._directories.values():
            for replica in directory.replicas():
                replica.tidy()
        self.start()

    def close(self) -> None:
        """Closes every idle connection."""
        if self._tidying is not None:
            self._tidying.cancel()
        for directory in self._directories.values():
            for replica in directory.replicas():
                replica.close()
