"""The same faults, where a request is queued: it ends as the table says, and is billed if answered."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.queued import BUSY, Ended, queued, queued_end
from tests.faults.table import Row, rows

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

AT_ONCE = 16


async def test_a_queued_request_ends_as_the_table_says(tmp_path: Path) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def case(row: Row, folder: Path) -> list[str]:
        folder.mkdir()
        async with gate:
            hangs = row.hangs or row.ends.code == "total_timeout"
            ended = await queued(row.bad, folder, hangs=hangs)
        return [f"{row.name}: {what}" for what in wrong(row, ended)]

    every = [row for row in (*rows("any"), *rows("whole")) if row.steady]
    found = await asyncio.gather(*(case(row, tmp_path / str(n)) for n, row in enumerate(every)))

    assert [] == [what for one in found for what in one]


def wrong(row: Row, ended: Ended) -> Iterator[str]:
    """What is not as it should be."""
    if ended.queued != queued_end(row.ends):
        yield f"ended as {ended.queued}"
    if ended.bills != (ended.queued.state == "completed"):
        yield f"{ended.bills} rows of the bill"
    if ended.bills and not ended.output and row.name != "no choices":
        yield "the answer was free"
    if ended.left:
        yield f"left behind: {', '.join(ended.left)}"


def test_a_busy_engine_is_no_failure() -> None:
    assert {"waits"} == {queued_end(row.ends).state for row in rows("any") if row.ends.code in BUSY}
