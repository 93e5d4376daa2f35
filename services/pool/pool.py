"""All backends of the configuration, ready to be called."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from events.config import Config
from functions.routing.replicas import Asked
from services.pool.directory import ReplicaDirectory, directory_of
from services.pool.held import Held
from services.pool.names import WatchedName
from services.pool.outside import Outside
from services.pool.picker import Picked, Picker
from services.pool.replica import Replica

TIDY_EVERY_S = 1.0


class Pool:
    """Picks a replica for a backend, and keeps the connections tidy."""

    def __init__(self, config: Config, outside: Outside | None = None) -> None:
        outside = outside or Outside()
        self._directories: dict[str, ReplicaDirectory] = {
            name: directory_of(backend, outside) for name, backend in config.backends.items()
        }
        self._needs: dict[str, Held] = {
            name: directory.needs for name, directory in self._directories.items() if directory.needs
        }
        self._picker = Picker()
        self._bounds = {name: backend.affinity for name, backend in config.backends.items()}
        self._slots = {name: backend.fleet.slots for name, backend in config.backends.items()}
        self._own_slots = {name: row.concurrency for name, row in config.models.items() if row.concurrency}
        self._tidying: asyncio.TimerHandle | None = None
        self._started = False

    def pick(
        self, backend: str, tried: Collection[Replica] = (), *, model: str = "", prefix: int = 0
    ) -> Picked | None:
        """The replica to call next, but for those `tried` already; None where the backend has no other.
        `prefix`: a hash of how the prompt for the `model` begins, 0 where that does not matter.
        """
        replicas = self._directories[backend].replicas()
        if len(replicas) < 2:
            if replicas and not tried and not replicas[0].aside_until:
                return Picked(replicas[0])  # nearly always where there is one
            return self._picker.pick(replicas, tried)
        asked = Asked(prefix, self.slots(backend, model), self._bounds[backend])
        return self._picker.pick(replicas, tried, asked)

    def slots(self, backend: str, model: str) -> int:
        """How many calls of a model one replica of a backend runs at once."""
        return self._own_slots.get(model) or self._slots[backend]

    def waits(self) -> Mapping[str, float]:
        """About how many seconds a prompt waits for its first token at the best replica of each backend;
        only what was measured of late.
        """
        found: dict[str, float] = {}
        for name, directory in self._directories.items():
            known = [
                seconds * (replica.in_flight + 1)
                for replica in directory.replicas()
                if (seconds := replica.begins_s) is not None
            ]
            if known:
                found[name] = min(known)
        return found

    def is_out(self, backend: str) -> bool:
        """Whether all its replicas are put aside, and none is due for a trial."""
        for replica in self._directories[backend].replicas():
            if not replica.aside_until or replica.aside_until <= replica.now():
                return False
        return True

    def replicas(self, backend: str) -> Sequence[Replica]:
        """Those of a backend that may be called now."""
        return self._directories[backend].replicas()

    def lacking(self) -> Mapping[str, str]:
        """What backends need that is not there, by backend. Engines are not among it: a backend without any
        is cold, and they may be on their way.
        """
        needs = self._needs.items()
        return {
            name: lacks
            for name, held in needs
            if not isinstance(held, WatchedName) and (lacks := held.lacking())
        }

    def cold(self) -> Mapping[str, str]:
        """Why a backend's list of engines is empty, by backend."""
        needs = self._needs.items()
        return {
            name: lacks for name, held in needs if isinstance(held, WatchedName) and (lacks := held.lacking())
        }

    def start(self) -> None:
        """Begins housekeeping."""
        self._started = True
        for held in self._needs.values():
            held.hold()
        self._tidy_later()

    def _tidy_later(self) -> None:
        self._tidying = asyncio.get_running_loop().call_later(TIDY_EVERY_S, self._tidy)

    def _tidy(self) -> None:
        for directory in self._directories.values():
            for replica in directory.replicas():
                replica.tidy()
        self._tidy_later()

    def close(self) -> None:
        """Takes no more calls: idle connections close, the others when their call ended."""
        if self._tidying is not None:
            self._tidying.cancel()
        if self._started:
            self._started = False
            for held in self._needs.values():
                held.let_go()
        for directory in self._directories.values():
            for replica in directory.replicas():
                replica.retire()
