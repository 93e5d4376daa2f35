"""The rehearsal engine: serves the OpenAI wire on one port until it is closed."""

import asyncio
import secrets
import signal
import time
from collections.abc import Callable

from services.front.front import Front
from services.front.limits import Budget
from services.rehearsal.answer import Stage
from services.rehearsal.driver import Driver, Schedule
from services.rehearsal.endpoint import Endpoint, Options
from services.rehearsal.journal import Journal
from services.rehearsal.profiles import Profile, Steady
from services.rehearsal.schedule.batch import BatchSchedule
from services.rehearsal.schedule.paced import PacedSchedule
from services.rehearsal.schedule.slots import Slots
from services.wire.errors import render_refusal

BODIES = 256 * 2**20  # bytes of request bodies held at once


class RehearsalEngine:
    """Owns what runs: the port, the schedule's timer and the log. Starts once and closes once."""

    def __init__(self, options: Options | None = None, *, now: Callable[[], float] = time.time) -> None:
        self.options = options or Options()
        self._now = now

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Serves, and returns the port. Raises `OSError` where it is taken or the log cannot be written."""
        self._journal = Journal(self.options.log_path)
        self._driver = Driver(schedule_of(self.options.profile))
        stage = Stage(driver=self._driver, journal=self._journal, now=self._now)
        endpoint = Endpoint(self.options, stage, run=secrets.token_hex(6))
        self._front = Front(endpoint, render_refusal=render_refusal, budget=Budget(BODIES))
        try:
            return await self._front.listen(host, port)
        except OSError:
            await self.close()
            raise

    async def close(self, grace_s: float = 0.0) -> None:
        """Lets answers under way end for `grace_s`; the log says `cancelled` of the rest."""
        await self._front.close(grace_s)
        self._driver.close()
        self._journal.close()


async def serve(
    options: Options, host: str, port: int, *, started: Callable[[int], None], grace_s: float = 0.0
) -> None:
    """Runs an engine until SIGTERM or SIGINT; `started` is told the port."""
    stop = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    engine = RehearsalEngine(options)
    started(await engine.start(host, port))
    await stop.wait()
    await engine.close(grace_s)


def schedule_of(profile: Profile) -> Schedule:
    """The schedule a profile describes."""
    slots = Slots(profile.slots, profile.queue)
    if isinstance(profile.pace, Steady):
        return PacedSchedule(profile.pace.token_s, slots)
    return BatchSchedule(profile.pace, slots)
