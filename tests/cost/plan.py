"""Which measurements make up a run."""

import shlex
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from tests.bench.site.machine import header
from tests.cost import measure
from tests.cost.results import Idle, Measured, Run
from tests.cost.site import site
from tests.cost.streamed import Streamed

MANY = 1000
TEN_S = 2000  # tokens, of 5 ms each


class Synchronous(Struct, frozen=True, kw_only=True):
    """See `measure.synchronous`."""

    rate: float
    seconds: float
    routers: int = 1
    tenants: int = 3
    sink: bool = True


class Queued(Struct, frozen=True, kw_only=True):
    """See `measure.queued`. `tokens`: of responses in the background, `followed` or not; 0: chats."""

    rate: float
    number: int
    posted: bool = False
    tokens: int = 0
    followed: bool = False


class Plan(Struct, frozen=True, kw_only=True):
    """A run. `idle_s`: how long nobody asks anything."""

    idle_s: float
    synchronous: tuple[Synchronous, ...]
    queued: tuple[Queued, ...]
    profile: str = "quick"

    @property
    def tenants(self) -> int:
        """How many there must be."""
        return max((one.tenants for one in self.synchronous), default=3)


FULL = Plan(
    idle_s=60,
    synchronous=(
        Synchronous(rate=1, seconds=30, sink=False),
        Synchronous(rate=10, seconds=30, sink=False),
        Synchronous(rate=30, seconds=20),
        Synchronous(rate=100, seconds=10),
        Synchronous(rate=300, seconds=10),
        Synchronous(rate=1000, seconds=10),
        Synchronous(rate=1000, seconds=10, routers=4),
        Synchronous(rate=1000, seconds=10, tenants=MANY),
    ),
    queued=(
        Queued(rate=1, number=30),
        Queued(rate=10, number=150),
        Queued(rate=1000, number=500),
        Queued(rate=10, number=150, posted=True),
        Queued(rate=1, number=15, tokens=TEN_S),
        Queued(rate=1, number=15, tokens=TEN_S, followed=True),
    ),
)
QUICK = Plan(
    idle_s=11,
    synchronous=(Synchronous(rate=5, seconds=2, sink=False), Synchronous(rate=100, seconds=5)),
    queued=(
        Queued(rate=5, number=6),
        Queued(rate=5, number=6, posted=True),
        Queued(rate=5, number=3, tokens=300, followed=True),
    ),
)


async def carry_out(plan: Plan, say: Callable[[str], None]) -> Run:
    """A run on a platform of its own, of which nothing stays."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        about = header(folder)
        say(f"starting a platform for {plan.tenants} tenants")
        async with AsyncExitStack() as stack:
            made = await stack.enter_async_context(site(folder, tenants=plan.tenants, profile=plan.profile))
            say(f"idle for {plan.idle_s:g} s")
            anyway = await measure.idle(made, plan.idle_s)
            queued = [await _queued(made, anyway, one, say) for one in plan.queued]
            synchronous = [await _synchronous(made, anyway, one, say) for one in plan.synchronous[:-1]]
            reading = await measure.reading_usage(made)
            synchronous += [await _synchronous(made, anyway, one, say) for one in plan.synchronous[-1:]]
    return Run(
        about=about,
        command=shlex.join(("python", "-m", "tests.cost", *sys.argv[1:])),
        profile=plan.profile,
        idle=anyway,
        synchronous=synchronous,
        queued=queued,
        reading_usage=reading,
    )


async def _synchronous(
    made: measure.Site, anyway: Idle, one: Synchronous, say: Callable[[str], None]
) -> Measured:
    say(f"synchronous, {one.rate:g}/s, {one.routers} routers, {one.tenants} tenants")
    return await measure.synchronous(
        made, anyway, one.rate, one.seconds, routers=one.routers, tenants=one.tenants, sink=one.sink
    )


async def _queued(made: measure.Site, anyway: Idle, one: Queued, say: Callable[[str], None]) -> Measured:
    if one.tokens:
        say(f"in the background, {one.number} responses of {one.tokens} tokens")
        streamed = Streamed(one.tokens, followed=one.followed)
        return await measure.queued(made, anyway, one.rate, one.number, streamed=streamed)
    say(f"queued, {one.rate:g}/s, {'posted' if one.posted else 'published'}")
    return await measure.queued(made, anyway, one.rate, one.number, posted=one.posted)
