"""An engine that goes bad in every way there is: what its callers see, what they pay, and what is left."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.faults.ends import ends
from tests.faults.seen import ATTEMPTS, GOOD_TEXT, Seen, patience, seen
from tests.faults.table import Row, rows

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

AT_ONCE = 16  # cases: they mostly wait
GIVEN = frozenset({"One two.", "One", "One twö.", GOOD_TEXT, ""})  # what the engines that end an answer told
HUGE = frozenset("x")


@pytest.mark.parametrize("another", [False, True], ids=["alone", "with another"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_every_fault_ends_as_the_table_says(stream: bool, another: bool) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def case(row: Row) -> list[str]:
        async with gate:
            deadlines = patience(hangs=row.hangs, total=row.ends.code == "total_timeout")
            one = await seen(row.bad, deadlines, stream=stream, another=another)
        wrong = [*broken_promises(one), *(helped(row, one) if another else told(row, one))]
        return [f"{row.name}: {what}" for what in wrong]

    cases = [
        row
        for row in (*rows("any"), *rows("streamed" if stream else "whole"))
        if not (another and row.bad.again)  # the other one would be the next
    ]
    found = await asyncio.gather(*map(case, cases))

    assert [] == [what for wrong in found for what in wrong]


def told(row: Row, one: Seen) -> Iterator[str]:
    """What is not as the table says."""
    found = ends(one, elsewhere=row.ends.elsewhere)
    if found != row.ends:
        yield f"ended as {found}"


def helped(row: Row, one: Seen) -> Iterator[str]:
    """What is not as the table says where there is a good engine as well."""
    if not row.ends.elsewhere:
        yield from told(row, one)
        if one.others:
            yield "the other engine was called"
    elif (one.read.text, one.others) != (GOOD_TEXT, 1) or one.calls > 1 or one.read.code:
        yield f"the other engine did not answer, or not at once: {one}"


def broken_promises(one: Seen) -> Iterator[str]:
    """What holds for every fault, and does not for this one."""
    read, bill = one.read, one.bill
    if read.broken:
        yield "the client was told what cannot be read"
    if read.finished and read.text not in GIVEN and set(read.text) != HUGE:
        yield f"it looks finished, but is not: {read.text}"
    if not read.finished and read.code is None and one.status == 200:
        yield "it is not finished, and there is no error"
    if one.calls + one.others > ATTEMPTS:
        yield f"{one.calls + one.others} calls"
    if len(bill) != (read.finished or bool(read.text)):
        yield f"{len(bill)} rows of the bill for {read.text!r}"
    if read.text and not bill[0].usage.output:
        yield "the answer was free"
    if sorted(one.started) != sorted(record.attempt for record in one.completed):
        yield "starts and ends of attempts differ"
    if one.status in (401, 403, 404):
        yield "an engine's trouble with us is told as the caller's"
    if one.left:
        yield f"left behind: {', '.join(one.left)}"
