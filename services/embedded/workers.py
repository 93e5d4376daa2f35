"""The long-running tasks of a process: started together, stopped together, never silent when they fail."""

import asyncio
import logging
from collections.abc import Coroutine

log = logging.getLogger("penstock.workers")


class Workers:
    """Tasks that should run until `stop`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended_early: list[str] = []

    async def missing(self) -> str | None:
        """Which of them run no more, though nobody stopped them; None while all do. What readiness asks."""
        return f"{', '.join(self._ended_early)} stopped" if self._ended_early else None

    def start(self, work: Coroutine[None, None, None], name: str) -> None:
        """Runs `work` from now on."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        self._ended_early.append(task.get_name())
        error = task.exception()
        log.critical("%s stopped: %s", task.get_name(), error or "it returned", exc_info=error)

    async def stop(self) -> None:
        """Ends them all."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
