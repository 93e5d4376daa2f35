"""The items of a response's input, as callers list them."""

from typing import Any, Literal

import msgspec

from events.words import Refusal
from functions.request.admission import invalid
from functions.request.mistakes import quoted

LIMITS = (1, 100)

Order = Literal["asc", "desc"]
Item = dict[str, Any]


class Page(msgspec.Struct, frozen=True):
    """Some of a list."""

    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: str = "list"


class _Asked(msgspec.Struct, frozen=True):
    input: str | list[Item]


def items_of(body: bytes, response_id: str) -> list[Item]:
    """The items, in their order; each has an id, a message its content in parts. `body`: of a request that
    was taken.
    """
    given = msgspec.json.decode(body, type=_Asked).input
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [_item(item, f"in_{response_id.partition('_')[2]}{at:04d}") for at, item in enumerate(items)]


def _item(item: Item, usual_id: str) -> Item:
    named = {"id": item.get("id") or usual_id, "type": item.get("type") or "message"}
    if named["type"] != "message":
        return item | named
    content = item.get("content")
    if isinstance(content, str):
        kind = "output_text" if item.get("role") == "assistant" else "input_text"
        part: Item = {"type": kind, "text": content}
        content = [part | {"annotations": []} if kind == "output_text" else part]
    return {"status": "completed"} | item | named | {"content": content}


def page_of(items: list[Item], limit: str, order: str, after: str) -> Page | Refusal:
    """The part that is asked for; the last item comes first unless `order` is `asc`."""
    low, high = LIMITS
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 4 and low <= int(limit) <= high):
        return invalid(f"limit is {quoted(limit)}; give {low} to {high}.", "limit", "invalid_value")
    if order not in ("asc", "desc"):
        return invalid(f"order is {quoted(order)}; use asc or desc.", "order", "invalid_value")
    ordered = items if order == "asc" else items[::-1]
    ids = [item["id"] for item in ordered]
    if after and after not in ids:
        return invalid(f"There is no item {quoted(after)}.", "after", "invalid_value")
    start = ids.index(after) + 1 if after else 0
    data = ordered[start : start + int(limit)]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return Page(data=data, first_id=first, last_id=last, has_more=start + len(data) < len(ordered))
