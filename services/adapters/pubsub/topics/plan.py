"""The steps from what is there to what is wished; pure, and nothing is ever deleted."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeVar

from msgspec.structs import fields, replace

from events.words import Record
from services.adapters.pubsub.topics.state import (
    KIND,
    MANAGED_BY,
    OURS,
    WATCH,
    Push,
    State,
    Subscription,
    Topic,
)

Verb = Literal["create", "update", "keep", "unknown", "blocked"]
Thing = TypeVar("Thing", Topic, Subscription)


class Step(Record):
    """One thing, and what is to be done about it.

    `unknown`: marked as ours, yet nothing wishes for it; somebody may delete it. `blocked`: it cannot
    become what is wished; somebody has to delete it first. `wished`: as it is to be, for create and
    update; `changed`: the fields of it that differ.
    """

    verb: Verb
    kind: Literal["topic", "subscription"]
    name: str
    detail: str = ""
    wished: Topic | Subscription | None = None
    changed: tuple[str, ...] = ()


def plan(wished: State, actual: State) -> list[Step]:
    """Topics first, then subscriptions, each in the order of the wishes; then what is unknown.

    Labels of others stay as they are.
    """
    return [
        *_steps("topic", wished.topics, actual.topics),
        *_steps("subscription", wished.subscriptions, actual.subscriptions),
    ]


def _steps(
    kind: Literal["topic", "subscription"], wished: Sequence[Thing], actual: Iterable[Thing]
) -> Iterator[Step]:
    there = {thing.name: thing for thing in actual}
    for thing in wished:
        yield _step(kind, thing, there.pop(thing.name, None))
    for thing in there.values():
        if thing.labels.get(MANAGED_BY) == OURS and thing.labels.get(KIND) != WATCH:
            yield Step(verb="unknown", kind=kind, name=thing.name, detail="nobody wishes for it")


def _step(kind: Literal["topic", "subscription"], wished: Thing, actual: Thing | None) -> Step:
    if actual is None:
        return Step(verb="create", kind=kind, name=wished.name, wished=wished)
    wished = replace(wished, labels={**actual.labels, **wished.labels})
    changed = tuple(
        field.name for field in fields(wished) if getattr(wished, field.name) != getattr(actual, field.name)
    )
    detail = "; ".join(
        f"{name}: {_shown(getattr(actual, name))} -> {_shown(getattr(wished, name))}" for name in changed
    )
    if "topic" in changed:  # the one thing Pub/Sub cannot change
        by_hand = f"delete it first: gcloud pubsub subscriptions delete {wished.name}"
        return Step(verb="blocked", kind=kind, name=wished.name, detail=f"{detail}; {by_hand}")
    if changed:
        return Step(verb="update", kind=kind, name=wished.name, detail=detail, wished=wished, changed=changed)
    return Step(verb="keep", kind=kind, name=wished.name)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={value[name]}" for name in sorted(value)) or "none"
    if isinstance(value, Push):
        wrapping = "wrapped" if value.wrapped else "unwrapped"
        return f"push to {value.endpoint} ({wrapping}, as {value.service_account or 'nobody'})"
    return "none" if value is None or value == "" else str(value)
