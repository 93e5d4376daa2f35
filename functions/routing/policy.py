"""Which places may answer a request, in which order, and why the others may not."""

import hashlib
import math
from collections.abc import Mapping
from typing import Final, Literal

from events.config import Config, Model, Needs, Place, Preference
from events.words import Problem, Record, Refusal, server_problem

Reason = Literal["context", "vision", "tools", "json_schema", "may_leave", "unavailable"]

NOTHING: Final[Mapping[str, str]] = {}
USUAL_ANSWER = 256  # tokens
LACKING_S = 60  # somebody has to set it
STATUS: dict[Reason, int] = {"may_leave": 403}  # else 400: the request asks too much
CODES: dict[Reason, str] = {
    "context": "context_length_exceeded",
    "may_leave": "hosted_not_allowed",
    "unavailable": "model_unavailable",
}
ABILITIES: dict[Literal["vision", "tools", "json_schema"], str] = {
    "vision": "does not take images",
    "tools": "does not call tools",
    "json_schema": "does not answer by a JSON Schema",
}
# Of the reasons that left nobody, the one told is that of the place that came furthest.
FURTHEST: tuple[Reason, ...] = ("unavailable", "may_leave", "context", "vision", "tools", "json_schema")


class Ask(Record):
    """What decides beside the name. `may_leave`: whether the tenant's prompts may leave the VPC. `seed`:
    where weights decide, the same seed leads to the same order. `waits`: by backend, how many seconds a
    prompt waits there now for the first token; one that is not known is as good as none, so that it is tried.
    """

    needs: Needs = Needs()
    may_leave: bool = False
    seed: str = ""
    waits: Mapping[str, float] = {}


PLAIN: Final = Ask()


class Dropped(Record):
    """A place that may not answer, and why, in a sentence."""

    place: Place
    reason: Reason
    why: str


class Choice(Record):
    """The decision: the `places` that may answer, in the order to call them, and those that may not."""

    places: tuple[Place, ...]
    dropped: tuple[Dropped, ...] = ()


def choose(
    name: str, config: Config, ask: Ask = PLAIN, lacking: Mapping[str, str] = NOTHING
) -> Place | Refusal:
    """The first place to call for a name callers use: a model, an alias or a task."""
    plan = config.plans.get(name)
    if plan is not None and plan.plain is not None:
        return plan.plain
    choice = candidates(name, config, ask, lacking)
    return choice if isinstance(choice, Refusal) else choice.places[0]


def candidates(
    name: str, config: Config, ask: Ask = PLAIN, lacking: Mapping[str, str] = NOTHING
) -> Choice | Refusal:
    """All places to call, the best first; a refusal says why there is none. `lacking`: what this process is
    without, by backend, such as "GEMINI_API_KEY, which is not set here".
    """
    plan = config.plans.get(name)
    if plan is None:
        problem = Problem(
            message=f"The model {name!r} is no longer configured.", code="model_not_found", param="model"
        )
        return Refusal(status=404, problem=problem)
    left: list[Place] = []
    dropped: list[Dropped] = []
    for tier, prefer in zip(plan.tiers, plan.prefers, strict=True):
        kept: list[Place] = []
        for place in tier:
            verdict = _judge(place, config, ask, lacking)
            if verdict is None:
                kept.append(place)
            else:
                dropped.append(verdict)
        left += _preferred(kept, prefer, ask)
    return Choice(places=tuple(left), dropped=tuple(dropped)) if left else refusal_of(dropped)


def refusal_of(dropped: list[Dropped]) -> Refusal:
    """What a caller is told where every place was dropped."""
    dropped = sorted(dropped, key=lambda one: FURTHEST.index(one.reason))
    reason, message = dropped[0].reason, " ".join(dict.fromkeys(one.why for one in dropped))
    code = CODES.get(reason, "unsupported_by_model")
    if reason == "unavailable":
        return Refusal(status=503, problem=server_problem(message, code), retry_after_s=LACKING_S)
    problem = Problem(message=message, code=code, param="messages" if reason == "context" else "model")
    return Refusal(status=STATUS.get(reason, 400), problem=problem)


def _judge(place: Place, config: Config, ask: Ask, lacking: Mapping[str, str]) -> Dropped | None:
    """Why a place may not answer: what the request asks comes first, then what the tenant allows, then what
    is there. None where it may.
    """
    row, backend = config.models[place.model], config.backends[place.backend]
    unable = _unable(place, row, ask.needs)
    if unable is not None:
        return unable
    if backend.leaves and not ask.may_leave:
        why = (
            f"The model {place.model} is served outside ({place.backend}), and this tenant's prompts may not "
            "leave; an operator can allow it: penstock tenants set TENANT --may-leave on."
        )
        return Dropped(place=place, reason="may_leave", why=why)
    if place.backend in lacking:
        why = f"The model {place.model} needs {lacking[place.backend]}."
        return Dropped(place=place, reason="unavailable", why=why)
    return None


def _unable(place: Place, row: Model, needs: Needs) -> Dropped | None:
    if not row.takes(needs.tokens):
        why = (
            f"The prompt has about {needs.tokens} tokens (estimated from its length) and {place.model} takes "
            f"{row.context}. Shorten the messages."
        )
        return Dropped(place=place, reason="context", why=why)
    for ability, lacks in ABILITIES.items():
        if getattr(needs, ability) and getattr(row, ability) is False:
            return Dropped(place=place, reason=ability, why=f"The model {place.model} {lacks}.")
    return None


def _preferred(places: list[Place], prefer: Preference, ask: Ask) -> list[Place]:
    """The best first; among equals it is by weight, and those without weight come last."""
    places = _ordered(places, ask.seed)
    if prefer == "cost":
        return sorted(places, key=lambda place: (not place.weight, price(place, ask.needs.tokens)))
    if prefer == "latency":
        return sorted(places, key=lambda place: (not place.weight, ask.waits.get(place.backend, 0.0)))
    return places


def price(place: Place, tokens: int) -> float:
    """About what a prompt of so many tokens costs at a place, in millionths of a USD, with an answer of
    usual length.
    """
    cost = place.cost
    return 0.0 if cost is None else cost.input * tokens + cost.output * USUAL_ANSWER


def _ordered(places: list[Place], seed: str) -> list[Place]:
    """By weighted rendezvous (Schindelhauer and Schomaker, SPAA 2005): each place comes first for its share
    of seeds, and where one goes, only its own seeds move. Those without weight come last, as listed.
    """
    if len(places) < 2:
        return places
    return sorted(places, key=lambda place: _distance(place, seed))


def _distance(place: Place, seed: str) -> float:
    if not place.weight:
        return math.inf
    parts = "\x1f".join((seed, place.model, place.backend)).encode()
    drawn = int.from_bytes(hashlib.blake2b(parts, digest_size=8).digest())
    return -math.log((drawn + 1) / (2**64 + 1)) / place.weight
