"""One request through a router whose engine goes bad: what its client saw, and what is left behind."""

import asyncio
import contextlib
from contextlib import AsyncExitStack
from dataclasses import dataclass

from events.usage import Completed, Started
from services.router.order import Deadlines
from services.router.retries import Retries
from tests.faults.reading import Read, read
from tests.support import client
from tests.support.bad_engines import Fault
from tests.support.client import PATIENCE_S
from tests.support.routing import Routed, routed
from tests.support.upstream import Script, Upstream, answers, streams, upstream
from tests.support.wire import DONE, chat, completion, delta, event, usage, usage_event

SOON_S = 0.3  # how long an engine may be silent
ENDLESS = frozenset({"go on", "drip"})  # what only ends as the time for all of a request is over
SOME = Retries(attempts=3, first_s=0.01, longest_s=0.05)
FINISH = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
GOOD_TEXT = "All is well."
GOOD = {
    False: answers(completion(GOOD_TEXT, usage=usage(1, 3))),
    True: streams(delta("All is"), delta(" well."), FINISH, usage_event(1, 3), DONE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """`calls`: those the bad engine got. `others`: those the good one got. `left`: what is still held."""

    status: int
    read: Read
    retry_after: str | None
    calls: int
    others: int
    started: tuple[str, ...]
    completed: tuple[Completed, ...]
    left: tuple[str, ...]

    @property
    def bill(self) -> tuple[Completed, ...]:
        """The rows of the bill."""
        return tuple(record for record in self.completed if record.billed)


def patience(script: Script | None) -> Deadlines:
    """What is never silent is only ended by the time for all of it; nothing else may come near that."""
    endless = isinstance(script, Fault) and script.then in ENDLESS
    total_s = 2 * SOON_S if endless else PATIENCE_S
    return Deadlines(connect_s=SOON_S, first_byte_s=SOON_S, idle_s=SOON_S, total_s=total_s)


async def seen(script: Script | None, *, stream: bool, another: bool = False) -> Seen:
    """What becomes of a request whose engine does this on every call; with `another`, a good one is there
    as well. Without a script, nothing listens at the bad one.
    """
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(upstream()) for _ in range(1 + another)]
        engines[-1].always = GOOD[stream]
        bad = engines[0]
        if script is None:
            await bad.refuse()
        else:
            bad.always = script
        urls = [engine.url for engine in reversed(engines)]  # of two, the second is called first
        it = await stack.enter_async_context(
            routed(*urls, deadlines=patience(script), retries=SOME, budget=2**26)
        )
        answer = await it.call(chat(stream=stream))
        await _settled(it)
        return _looked_at(it, answer, engines)


async def _settled(it: Routed) -> None:
    """Waits until nothing is under way. Where that never comes, what is left tells why."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            while left_in(it):
                await asyncio.sleep(0.005)


def left_in(it: Routed) -> tuple[str, ...]:
    """What is still held or under way."""
    open_ids = {r.attempt for r in it.tap.records if isinstance(r, Started)} ^ {
        r.attempt for r in it.tap.records if isinstance(r, Completed)
    }
    held = {
        "exchanges": len(it.exchanges.open),
        "retrying": it.exchanges.retrying,
        "bytes": it.budget.used,
        "calls": sum(replica.in_flight for replica in it.pool.replicas("pool")),
        "attempts": len(open_ids),
    }
    return tuple(f"{count} {what}" for what, count in held.items() if count)


def _looked_at(it: Routed, answer: client.Response, engines: list[Upstream]) -> Seen:
    bad, *others = engines
    return Seen(
        status=answer.status,
        read=read(answer),
        retry_after=answer.headers.get("retry-after"),
        calls=len(bad.calls),
        others=sum(len(other.calls) for other in others),
        started=tuple(record.attempt for record in it.tap.records if isinstance(record, Started)),
        completed=tuple(record for record in it.tap.records if isinstance(record, Completed)),
        left=left_in(it),
    )
