"""One queued request whose engine goes bad: where it ends, and what is left behind."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from events.requests import FINAL, RequestDocument
from tests.faults.ends import Bill, Ends
from tests.faults.seen import SOON_S, Bad
from tests.services.dispatcher.world import FAST, World, world
from tests.support.client import PATIENCE_S
from tests.support.clock import now
from tests.support.upstream import upstream

FAILURES = FAST.failures
BUSY = frozenset({"engine_busy", "engine_unavailable"})
TOTAL = "total_timeout"  # the one deadline of an engine's call, as nobody listens to it
LONG_S = 1.0  # a pause that the engine asked for; ours are shorter


class Queued(NamedTuple):
    """`state`: it "waits" where no number of such attempts is a failure. `calls`: those the engine gets."""

    state: str
    code: str | None = None
    calls: int = 1
    bill: Bill | None = None


def queued_end(ends: Ends) -> Queued:
    """Where a queued request ends with a fault by which a synchronous one would end so."""
    if ends.status == 200:
        return Queued("completed", bill=ends.bill)
    if ends.code is None:
        return Queued("failed")
    if ends.code in BUSY:
        return Queued("waits", calls=0)
    return Queued("failed", TOTAL if ends.status == 504 else ends.code, FAILURES)


class Ended(NamedTuple):
    """What became of it, and what is left of it."""

    queued: Queued
    bills: int
    output: int  # tokens on them
    left: tuple[str, ...]


async def queued(bad: Bad, folder: Path, *, hangs: bool) -> Ended:
    """What becomes of a queued request to this engine."""
    async with upstream() as engine:
        if bad.scripts:
            engine.always = bad.scripts[0]
        else:
            await engine.refuse()
        total_s = SOON_S if hangs else PATIENCE_S
        async with world(folder, engine.url, total_s=total_s, connect_s=SOON_S) as made:
            name = await made.submit()
            await made.dispatch()
            document = await _rests(made, name)
            calls = len(engine.calls)
            if document.state in FINAL:
                await made.ends(name)
                await made.completions(calls)
            return await _looked_at(made, document, calls)


async def _rests(made: World, name: str) -> RequestDocument:
    """Waits until it ended, or it is clear that it goes on waiting."""
    async with asyncio.timeout(PATIENCE_S):
        while not _is_clear(document := await made.document(name), now()):
            await asyncio.sleep(0.002)
    return document


def _is_clear(document: RequestDocument, at: datetime) -> bool:
    if document.state in FINAL:
        return True
    asked_for = document.not_before is not None and document.not_before - at > timedelta(seconds=LONG_S)
    return document.state == "routed" and (document.attempts > FAILURES or asked_for)


async def _looked_at(made: World, document: RequestDocument, calls: int) -> Ended:
    bills = [record for record in made.said.completions() if record.billed]
    answer = await made.answer(document.id)
    error = answer.get("error") or ((answer.get("response") or {}).get("body") or {}).get("error") or {}
    in_flight = sum(replica.in_flight for replica in made.pool.replicas("pool"))
    state = document.state if document.state in FINAL else "waits"
    final = document.state in FINAL
    return Ended(
        Queued(
            state=state,
            code=error.get("code"),
            calls=calls if final else 0,
            bill=None if not bills else "estimated" if bills[0].estimated else "counted",
        ),
        bills=len(bills),
        output=sum(record.usage.output for record in bills),
        left=(f"{in_flight} calls",) if final and in_flight else (),
    )
