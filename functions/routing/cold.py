"""What becomes of a request while no engine of its model can be reached, and how long that may last."""

import math
from typing import Final, Literal, get_args

from events.config import Model, WhenCold
from events.words import Problem, Record, Refusal, server_problem

Wish = Literal["queue", "hold", "fallback", "fail"]

HEADER: Final = "x-penstock-cold"
WISHES: Final[tuple[Wish, ...]] = get_args(Wish)
LONGEST_S: Final = 3600  # nobody is told to come back later than that
OVERDUE: Final = 0.1  # of a usual boot: what is late is asked for again after so long
RECENT: Final = 0.3  # how much the last boot weighs against those before it
SLACK: Final = 0.25  # of a boot: its end has to be seen so soon, or it teaches nothing
SLACK_S: Final = 5.0


class Boots(Record):
    """How long a backend took to be back, seen from here. `mean_s`: on average, the last ones more."""

    mean_s: float
    count: int = 1


class Spell(Record):
    """A backend is cold: since when, and when that was seen last, by one clock in seconds."""

    since: float
    seen: float


def wish_of(told: str) -> Wish | None:
    """What a caller wishes; None where that is no wish."""
    wish = told.strip().lower()
    return next((one for one in WISHES if one == wish), None)


def no_wish(told: str) -> Refusal:
    """The refusal of a header that is none."""
    problem = Problem(
        message=f"{HEADER} is {told}; use {', '.join(WISHES)}, or leave it out.",
        code="invalid_value",
        param=HEADER,
    )
    return Refusal(status=400, problem=problem)


def wish_for(model: Model | None, usual: WhenCold) -> Wish:
    """What holds for a request that does not say; `usual`: the setting of the process. A task of several
    models has no row of its own. Where a model names others to fall back on, that was asked for.
    """
    if model is not None and model.cold is not None:
        return model.cold
    return "fallback" if model is None or model.fallback else usual


def learned(boots: Boots | None, spell: Spell, now: float) -> Boots | None:
    """The same with a spell that ended between the last time it was seen and now; one whose end was seen
    late teaches nothing.
    """
    lasted_s, unseen_s = now - spell.since, now - spell.seen
    if unseen_s > max(SLACK_S, SLACK * lasted_s):
        return boots
    if boots is None:
        return Boots(mean_s=lasted_s)
    mean_s = boots.mean_s + RECENT * (lasted_s - boots.mean_s)
    return Boots(mean_s=mean_s, count=boots.count + 1)


def left_s(boot_s: float, elapsed_s: float) -> int:
    """In how many whole seconds an engine is expected that takes `boot_s` and was asked for `elapsed_s` ago;
    one at least.
    """
    rest_s = boot_s - elapsed_s
    if rest_s <= 0:
        rest_s = OVERDUE * boot_s
    return min(max(1, math.ceil(rest_s)), LONGEST_S)


def cold_refusal(model: str, eta_s: int) -> Refusal:
    """What a caller reads that does not wait."""
    problem = server_problem(
        f"{model} has no engine right now; one may be back in about {eta_s} s. Come back then, or send "
        f"{HEADER}: hold to wait for it, or queue to have the answer kept for you.",
        "engine_unavailable",
    )
    return Refusal(status=503, problem=problem, retry_after_s=eta_s)
