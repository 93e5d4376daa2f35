"""The long-running tasks of a process: started together, stopped together, never silent when they fail."""

import asyncio
import logging
from collections.abc import Coroutine

log = logging.getLogger("penstock.workers")


class Workers:
    """Tasks that should run until `stop`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None], name: str) -> None:
        """Runs `work` from now on."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("%s stopped: %s", task.get_name(), error, exc_info=error)

    async def stop(self) -> None:
        """Ends them all."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
