"""Runs the gateways against each other, turn by turn, so that each pair of figures saw the same minute."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from msgspec import Struct

from tests.bench.entrant import Entrant
from tests.bench.lineup import GATEWAYS
from tests.bench.results import Row
from tests.bench.site.site import MANY, STREAMS, Site

WARM_UP_CONNECTIONS = 8

Tell = Callable[[str], None]


class Plan(Struct, frozen=True, kw_only=True):
    """How often and how long. wrk knows whole seconds only."""

    starts: int = 3
    warm_up_s: float = 1.0
    rounds: int = 5
    light_s: float = 1.0  # with 1 and 8 connections
    full_s: float = 3.0  # with 64
    stream_rounds: int = 3
    stream_s: float = 3.0
    many_s: float = 6.0  # very many streams at once; 0 leaves them out
    exact_s: float = 2.0
    lag_s: float = 5.0


QUICK = Plan(
    starts=1,
    warm_up_s=0.0,
    rounds=1,
    full_s=1.0,
    stream_rounds=1,
    stream_s=0.5,
    many_s=0.0,
    exact_s=0.5,
    lag_s=1.0,
)


def hold(names: Sequence[str], site: Site, plan: Plan, tell: Tell) -> list[Row]:
    """Measures the gateways, all of them up, one at a time under load."""
    with ExitStack() as stack:
        entrants = [_enter(name, site, plan, stack) for name in names]
        _wrk_rounds(entrants, plan, tell)
        _stream_rounds(entrants, plan, tell)
        for entrant in entrants:
            entrant.count_exactly(plan.exact_s)
            entrant.watch_ledger(plan.lag_s)
        return [entrant.row for entrant in entrants]


def _enter(name: str, site: Site, plan: Plan, stack: ExitStack) -> Entrant:
    starts = [_start_only(name, site) for _ in range(plan.starts - 1)]
    entrant = Entrant(GATEWAYS[name](site), site)
    stack.callback(entrant.stop)
    entrant.start()
    entrant.row.starts_s += starts
    if plan.warm_up_s:
        entrant.wrk(WARM_UP_CONNECTIONS, plan.warm_up_s)
    return entrant


def _start_only(name: str, site: Site) -> float:
    entrant = Entrant(GATEWAYS[name](site), site)
    try:
        entrant.start()
    finally:
        entrant.stop()
    return entrant.row.starts_s[0]


def _wrk_rounds(entrants: Sequence[Entrant], plan: Plan, tell: Tell) -> None:
    for number in range(plan.rounds):
        for entrant in _turns(entrants, number):
            turn = entrant.round(plan.light_s, plan.full_s)
            tell(f"round {number + 1} of {plan.rounds}: {entrant.row.name} {turn.c64.rps:,.0f} requests/s")


def _stream_rounds(entrants: Sequence[Entrant], plan: Plan, tell: Tell) -> None:
    for number in range(plan.stream_rounds):
        for model in STREAMS:
            for entrant in _turns(entrants, number):
                entrant.stream_round(model, plan.stream_s)
            tell(f"streams, round {number + 1} of {plan.stream_rounds}: {model}")
    for entrant in entrants if plan.many_s else ():
        entrant.stream_round(MANY, plan.many_s)
        tell(f"very many streams: {entrant.row.name}")


def _turns(entrants: Sequence[Entrant], number: int) -> Sequence[Entrant]:
    """Back and forth, so that nobody always comes first."""
    return entrants[::-1] if number % 2 else entrants
