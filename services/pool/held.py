"""Work in the background that goes on for as long as somebody needs what it keeps."""

import asyncio
from typing import Protocol


class Held(Protocol):
    """What a backend needs that has to be kept up to date."""

    def hold(self) -> None:
        """Somebody needs it."""

    def let_go(self) -> None:
        """Not any more."""

    def lacking(self) -> str:
        """What is missing, to be read behind "needs"; "" while nothing is."""


class Background:
    """Runs `run` once for all who hold it: a new version of the configuration takes over what there is."""

    def __init__(self) -> None:
        self._holders = 0
        self._task: asyncio.Task[None] | None = None

    def hold(self) -> None:
        """See `Held`."""
        self._holders += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self.run())

    def let_go(self) -> None:
        """See `Held`."""
        self._holders -= 1
        if not self._holders and self._task is not None:
            self._task.cancel()
            self._task = None

    async def run(self) -> None:
        """Goes on for ever."""
        raise NotImplementedError
