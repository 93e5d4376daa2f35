"""Waking those who wait for news, without a ring that nobody hears."""

import asyncio
from contextlib import suppress
from datetime import timedelta


class Bell:
    """Whoever waits takes the next `stroke` first, then looks whether there is news, then waits for
    that stroke: a ring between the look and the wait is heard.
    """

    def __init__(self) -> None:
        self.stroke = asyncio.Event()

    def ring(self) -> None:
        """There is news: wakes everybody who took the current stroke."""
        rung, self.stroke = self.stroke, asyncio.Event()
        rung.set()


async def wait(stroke: asyncio.Event, at_most: timedelta) -> None:
    """Returns at the stroke, or when the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(at_most.total_seconds()):
            await stroke.wait()
