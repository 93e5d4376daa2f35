"""The items of an input, as they are listed."""

import json
from typing import Any

import pytest

from events.words import Refusal
from services.responses.items import Page, items_of, page_of

CALL = {"type": "function_call_output", "call_id": "c", "output": "Sunny."}


def items(*given: Any) -> list[dict[str, Any]]:
    return items_of(json.dumps({"model": "m", "input": list(given)}).encode(), "resp_abc")


def test_every_item_has_an_id_and_keeps_its_own() -> None:
    told = items({"role": "user", "content": "Hi."}, CALL | {"id": "own"}, CALL)

    assert ["in_abc0000", "own", "in_abc0002"] == [one["id"] for one in told]
    assert CALL | {"id": "in_abc0002"} == told[2]
    assert ("message", "completed", [{"type": "input_text", "text": "Hi."}]) == (
        told[0]["type"],
        told[0]["status"],
        told[0]["content"],
    )


def test_a_page_begins_behind_an_item_and_tells_whether_there_is_more() -> None:
    told = items(*[CALL] * 5)
    page = page_of(told, "2", "desc", "in_abc0003")
    last = page_of(told, "100", "asc", "in_abc0004")

    assert page == Page(data=[told[2], told[1]], first_id="in_abc0002", last_id="in_abc0001", has_more=True)
    assert last == Page(data=[], first_id=None, last_id=None, has_more=False)


@pytest.mark.parametrize(
    ("limit", "order", "after", "param"),
    [
        ("0", "asc", "", "limit"),
        ("101", "asc", "", "limit"),
        ("x", "asc", "", "limit"),
        ("20", "up", "", "order"),
        ("20", "asc", "nobody", "after"),
    ],
)
def test_what_no_page_can_be_is_refused(limit: str, order: str, after: str, param: str) -> None:
    page = page_of(items(CALL), limit, order, after)

    assert isinstance(page, Refusal)
    assert param == page.problem.param
