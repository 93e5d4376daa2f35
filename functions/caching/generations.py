"""What was purged: numbers that grow, and are part of every entry's name, so that no old one is found."""

from datetime import datetime, timedelta
from typing import Literal

from msgspec.structs import replace

from events.words import Record

Scope = Literal["tenant", "model", "key"]
CLOCK_SKEW = timedelta(seconds=2)
MOST = 1000  # names with a number of their own; with one more, everything is purged instead


class Generations(Record):
    """`everything` counts the purges of all there is, `named` those of one tenant, model or key. `changes`
    counts whatever a router has to look at, the tenants' settings among it. `purged_at`: when anything was
    purged last.
    """

    changes: int = 0
    everything: int = 0
    named: dict[str, int] = {}
    purged_at: datetime | None = None
    schema: int = 1


def entry_id(key: str, tenant: str, model: str, generations: Generations) -> str:
    """The name of an entry: its key, and the generations it belongs to. After a purge it is another one."""
    names = {"tenant": tenant, "model": model, "key": key}
    numbers = (generations.named.get(f"{scope}:{name}", 0) for scope, name in names.items())
    return f"{key}-" + ".".join(map(str, (generations.everything, *numbers)))


def purged(generations: Generations, scope: Scope, name: str, at: datetime) -> Generations:
    """The generations once nothing of that tenant, model or key may be given again."""
    what = f"{scope}:{name}"
    named = generations.named | {what: generations.named.get(what, 0) + 1}
    changed = replace(generations, changes=generations.changes + 1, named=named, purged_at=at)
    if len(named) > MOST:
        return replace(changed, everything=generations.everything + 1, named={})
    return changed


def told(generations: Generations) -> Generations:
    """The same, after a change that is kept elsewhere."""
    return replace(generations, changes=generations.changes + 1)


def is_since(generations: Generations, asked_at: datetime) -> bool:
    """Whether what was asked then is surely answered after every purge, by clocks that differ a little."""
    return generations.purged_at is None or asked_at - CLOCK_SKEW > generations.purged_at
