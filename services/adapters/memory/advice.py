"""What the advice on replicas goes by, in memory."""

from collections.abc import Sequence

from events.words import Conflict
from functions.autoscale.standing import Standing


class MemoryAdvice:
    """One standing for each backend, and its version."""

    def __init__(self) -> None:
        self._stored: dict[str, tuple[Standing, int]] = {}

    async def standing(self, backend: str) -> tuple[Standing, int]:
        """What is remembered of a backend, and its version (0: nothing yet)."""
        return self._stored.get(backend, (Standing(backend=backend), 0))

    async def put(self, standing: Standing, version: int) -> None:
        """Stores it if what is stored still has `version`; else raises `Conflict`."""
        _, current = await self.standing(standing.backend)
        if current != version:
            raise Conflict(f"The advice on {standing.backend} has version {current}, not {version}.")
        self._stored[standing.backend] = (standing, version + 1)

    async def standings(self) -> Sequence[Standing]:
        """All of them, by backend."""
        return [standing for _, (standing, _) in sorted(self._stored.items())]
