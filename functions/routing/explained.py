"""Why a place answers, as `x-penstock-route` tells it: an Item of RFC 9651 with parameters."""

from typing import Literal

from events.config import Place, Plan

By = Literal["", "weight", "cost", "latency", "fallback"]


def by(plan: Plan | None, place: Place) -> By:
    """What made it this place; "" where there was no other."""
    if plan is None or len(plan.tiers) == len(plan.tiers[0]) == 1:
        return ""
    if place not in plan.tiers[0]:
        return "fallback"
    return plan.prefers[0] if len(plan.tiers[0]) > 1 else ""


def route_item(place: Place, why: By) -> str:
    """Such as `"gemma@spare";by=fallback`; what a String may not hold is told as ?."""
    name = f"{place.model}@{place.backend}".replace("\\", "\\\\").replace('"', '\\"')
    told = "".join(one if " " <= one <= "~" else "?" for one in name)
    return f'"{told}";by={why}' if why else f'"{told}"'
