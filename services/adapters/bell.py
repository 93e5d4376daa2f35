"""Waking those who wait for news, without a ring that nobody hears."""

import asyncio


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


async def heard(stroke: asyncio.Event, timeout_s: float) -> bool:
    """Waits for the stroke; False where the time is over first."""
    try:
        async with asyncio.timeout(timeout_s):
            return await stroke.wait()
    except TimeoutError:
        return False
