"""Many kills under load, planned by a seed, and what came of them in numbers."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from tests.kill.facts import Facts, is_reversal
from tests.kill.followed import BEGUN_AGAIN
from tests.kill.keyed import given_away
from tests.kill.oracle import unrecorded
from tests.kill.rig.load import Work
from tests.kill.rig.phases import UNDER_LOAD, WHEN_IDLE
from tests.kill.rig.rig import CLOCK_SKEW_S, LEASE_S, Rig

EXTRA = Work(queued=20, synchronous=8)  # for a strike that has to be repeated
LONG_DOWN_S = LEASE_S + CLOCK_SKEW_S + 0.5  # so that leases are over at the start
TRIES = 10  # for one strike that hits, at most

STRIKES = UNDER_LOAD | WHEN_IDLE
AT_AN_END = frozenset({"before_completed", "mid_result"})
WITHOUT_A_KILL = frozenset({"drained", "lost_leases"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is asked, and how often each phase is to be hit; those that kill nobody need `others`, and
    those that strike at the end of an answer `ends`.
    """

    work: Work
    hits: int
    ends: int
    others: int

    def of(self, name: str) -> int:
        """How often a phase is to be hit."""
        return self.others if name in WITHOUT_A_KILL else self.ends if name in AT_AN_END else self.hits


CI = Size(work=Work(queued=300, synchronous=100), hits=2, ends=1, others=1)
SOAK = Size(work=Work(queued=2_000, synchronous=500), hits=6, ends=6, others=3)


@dataclass
class Campaign:
    """One run. `hits` and `misses` count strikes by phase; a miss is tried again."""

    rig: Rig
    size: Size
    say: Callable[[str], None]
    hits: Counter[str] = field(default_factory=Counter)
    misses: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        """Strikes until every phase was hit as often as it should be."""
        plan = self._plan()
        shares = self._shares(sum(name in UNDER_LOAD for name in plan))
        while plan:
            name = plan.pop()
            struck = await self._round(name, shares.pop() if name in UNDER_LOAD and shares else None)
            if not struck:
                assert self.misses[name] < TRIES * self.size.hits, f"{name} is never hit"
                plan.insert(self.rig.dice.randrange(len(plan) + 1), name)

    def _plan(self) -> list[str]:
        plan = [name for name in STRIKES for _ in range(self.size.of(name))]
        self.rig.dice.shuffle(plan)
        return plan

    def _shares(self, rounds: int) -> list[Work]:
        """The work in as many parts; the last one takes what is left over."""
        work = self.size.work
        part = Work(queued=work.queued // rounds, synchronous=work.synchronous // rounds)
        rest = Work(
            queued=work.queued - part.queued * (rounds - 1),
            synchronous=work.synchronous - part.synchronous * (rounds - 1),
        )
        return [rest, *repeat(part, rounds - 1)]

    async def _round(self, name: str, work: Work | None) -> bool:
        """One strike; all that was begun before is acknowledged or over when it ends."""
        rig, dice = self.rig, self.rig.dice
        if name in UNDER_LOAD:
            rig.load.begin(work or EXTRA)
            await asyncio.sleep(dice.uniform(0.0, 0.3))
        struck = await STRIKES[name](rig)
        if not rig.platform.up.is_set():
            await rig.recover(down_s=dice.choice([0.0, 0.0, 0.0, 0.0, 0.0, LONG_DOWN_S]))
        await rig.load.done()
        (self.hits if struck else self.misses)[name] += 1
        self.say(self._progress(name, struck=struck))
        return struck

    def _progress(self, name: str, *, struck: bool) -> str:
        load = self.rig.load
        return (
            f"{time.strftime('%H:%M:%S')} {name} {'hit' if struck else 'missed'}; "
            f"{self.hits.total()} hits, {len(load.acknowledged)} queued, {len(load.calls)} synchronous"
        )

    def summary(self, facts: Facts) -> dict[str, Any]:
        """What is worth keeping of it."""
        return {
            "hits": dict(sorted(self.hits.items())),
            "misses": dict(sorted(self.misses.items())),
            "kills": len(facts.kills),
            **numbers(facts),
        }


def numbers(facts: Facts) -> dict[str, Any]:
    """How much there was of everything."""
    return {
        "queued": {"acknowledged": len(facts.queued), "ended": len({f.request_id for f in facts.finals})},
        "synchronous": {
            "made": len(facts.calls),
            "saw_a_byte": sum(call.saw_byte for call in facts.calls),
            **Counter(call.ended for call in facts.calls),
            "streamed": sum(call.streamed for call in facts.calls),
            "streams_cut": sum(call.streamed and call.ended == "cut" for call in facts.calls),
        },
        "keys": {
            "of_calls": len({call.key for call in facts.calls if call.key}),
            "calls": sum(bool(call.key) for call in facts.calls),
            "whole": sum(call.key != "" and call.ended == "whole" for call in facts.calls),
            "given_away": len(given_away(facts)),
            "of_queued": len(facts.named),
        },
        "followed": {
            "responses": len({reading.request_id for reading in facts.readings}),
            "connections": sum(reading.connections for reading in facts.readings),
            "begun_again": sum(reading.ended == BEGUN_AGAIN for reading in facts.readings),
        },
        "engine": {"attempts": len(facts.accepted), "without_a_record": len(unrecorded(facts))},
        "ledger": {
            "completed": len(facts.completed),
            "bill_rows": len(facts.bills),
            "estimated": sum(not is_reversal(row) for row in facts.settled),
            "reversed": sum(map(is_reversal, facts.settled)),
        },
    }
