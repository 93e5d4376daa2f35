"""One request through a router whose engine goes bad: what its client saw, and what is left behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from events.usage import Completed, Started
from services.router.order import Deadlines
from services.router.retries import Retries
from tests.faults.reading import Read, read
from tests.support.client import PATIENCE_S, Response
from tests.support.routing import Routed, routed
from tests.support.upstream import Script, Upstream, answers, streams, unreachable, upstream
from tests.support.wire import DONE, chat, completion, delta, event, usage, usage_event

SOON_S = 0.3  # how long an engine may be silent
ATTEMPTS = 3
SOME = Retries(attempts=ATTEMPTS, first_s=0.01, longest_s=0.05)
FINISH = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
GOOD_TEXT = "All is well."
GOOD: dict[bool, Script] = {
    False: answers(completion(GOOD_TEXT, usage=usage(1, 3))),
    True: streams(delta("All is"), delta(" well."), FINISH, usage_event(1, 3), DONE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """What a bad engine does to its calls, one after another, the last for ever; then it `recovers`, or does
    not. Where it is asked `again`, it has answered one call before, on the same connection. An engine with
    no scripts refuses connections, and one that is `away` does not even do that.
    """

    scripts: tuple[Script, ...] = ()
    recovers: bool = False
    again: bool = False
    away: bool = False


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


def patience(*, hangs: bool, total: bool) -> Deadlines:
    """Only what is tested may run out: a busy machine is slow, too."""
    silent_s = SOON_S if hangs else PATIENCE_S
    return Deadlines(
        connect_s=SOON_S,
        first_byte_s=silent_s,
        idle_s=silent_s,
        total_s=2 * SOON_S if total else PATIENCE_S,
    )


@asynccontextmanager
async def faulty(
    bad: Bad, deadlines: Deadlines, *, stream: bool, another: bool = False
) -> AsyncIterator[tuple[Routed, list[Upstream]]]:
    """A router with this engine; with `another`, with a good one as well."""
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(upstream()) for _ in range(1 + another)]
        engines[-1].always = GOOD[stream]
        url = stack.enter_context(unreachable()) if bad.away else engines[0].url
        urls = [*(engine.url for engine in engines[1:]), url]  # of two, the second is called first
        it = await stack.enter_async_context(routed(*urls, deadlines=deadlines, retries=SOME, budget=2**26))
        await _prepare(bad, engines[0], it, stream)
        yield it, engines


async def seen(bad: Bad, deadlines: Deadlines, *, stream: bool, another: bool = False) -> Seen:
    """What becomes of a request there."""
    async with faulty(bad, deadlines, stream=stream, another=another) as (it, engines):
        before = len(it.tap.records)
        answer = await it.call(chat(stream=stream))
        await _settled(it, engines)
        return _looked_at(it, answer, engines, before)


async def _prepare(bad: Bad, engine: Upstream, it: Routed, stream: bool) -> None:
    if bad.again:
        engine.will(GOOD[stream])
        await it.call(chat(stream=stream))
        await _settled(it, [engine])
        engine.calls.clear()
    if bad.recovers:
        engine.will(*bad.scripts)
        engine.always = GOOD[stream]
    elif bad.scripts:
        *first, engine.always = bad.scripts
        engine.will(*first)
    else:
        await engine.refuse()


async def _settled(it: Routed, engines: list[Upstream]) -> None:
    """Waits until nothing is under way. Where that never comes, what is left tells why."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            while left_in(it) or not sum(len(engine.calls) for engine in engines) <= len(ended(it)):
                await asyncio.sleep(0.005)


def ended(it: Routed) -> list[Completed]:
    """The ends of attempts that were recorded."""
    return [record for record in it.tap.records if isinstance(record, Completed)]


def left_in(it: Routed) -> tuple[str, ...]:
    """What is still held or under way."""
    begun = {record.attempt for record in it.tap.records if isinstance(record, Started)}
    held = {
        "exchanges": len(it.exchanges.open),
        "further attempts": it.exchanges.retrying,
        "bytes": it.budget.used,
        "calls": sum(replica.in_flight for replica in it.pool.replicas("pool")),
        "open attempts": len(begun ^ {record.attempt for record in ended(it)}),
    }
    return tuple(f"{count} {what}" for what, count in held.items() if count)


def _looked_at(it: Routed, answer: Response, engines: list[Upstream], before: int) -> Seen:
    bad, *others = engines
    records = it.tap.records[before:]
    return Seen(
        status=answer.status,
        read=read(answer),
        retry_after=answer.headers.get("retry-after"),
        calls=len(bad.calls),
        others=sum(len(other.calls) for other in others),
        started=tuple(record.attempt for record in records if isinstance(record, Started)),
        completed=tuple(record for record in records if isinstance(record, Completed)),
        left=left_in(it),
    )
