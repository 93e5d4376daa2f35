import asyncio
from functools import partial

import pytest

from services.wire.turn import Turn

pytestmark = pytest.mark.anyio


async def test_what_was_gathered_in_a_turn_is_written_at_its_end_in_order() -> None:
    turn, written = Turn(), list[int]()
    for number in range(3):
        turn.ends_with(partial(written.append, number))
    assert [] == written

    await asyncio.sleep(0)

    assert [0, 1, 2] == written


async def test_what_is_gathered_while_it_ends_belongs_to_the_next() -> None:
    turn, written = Turn(), list[str]()

    def first() -> None:
        written.append("first")
        turn.ends_with(partial(written.append, "second"))

    turn.ends_with(first)
    await asyncio.sleep(0)
    assert ["first"] == written

    await asyncio.sleep(0)
    assert ["first", "second"] == written
