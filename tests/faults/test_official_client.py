"""The same faults, as OpenAI's own client sees them: an answer, or an exception, and never half of one."""

import asyncio
from typing import Any

import pytest

from tests.faults.seen import faulty, patience
from tests.faults.table import Row, rows
from tests.support import official
from tests.support.routing import Routed
from tests.support.wire import MODEL

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

AT_ONCE = 16
STATUSES = {400: "BadRequestError", 422: "UnprocessableEntityError", 429: "RateLimitError"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_fault_is_an_answer_or_an_exception(stream: bool) -> None:
    gate = asyncio.Semaphore(AT_ONCE)
    async with official.client("http://127.0.0.1", "-") as client:

        async def case(row: Row) -> str | None:
            deadlines = patience(hangs=row.hangs, total=row.ends.code == "total_timeout")
            async with gate, faulty(row.bad, deadlines, stream=stream) as (it, _):
                found = await outcome(it, client, stream)
            wanted = expected(row)
            return None if isinstance(found, wanted) else f"{row.name}: {found!r}, not {wanted.__name__}"

        cases = (*rows("any"), *rows("streamed" if stream else "whole"))
        wrong = await asyncio.gather(*map(case, cases))

    assert [] == [one for one in wrong if one]


def expected(row: Row) -> type[str | Exception]:
    """The text, or what is raised instead."""
    if row.ends.status == 200:
        return official.APIError if row.ends.code else str
    return getattr(official, STATUSES.get(row.ends.status, "APIStatusError"))


async def outcome(it: Routed, client: Any, stream: bool) -> str | Exception:
    """What the client makes of it."""
    here = client.with_options(base_url=f"http://127.0.0.1:{it.port}/v1", api_key=it.key)
    ask = here.chat.completions.create
    try:
        if not stream:
            answer = await ask(model=MODEL, messages=[{"role": "user", "content": "Hi."}])
            return "".join(choice.message.content or "" for choice in answer.choices)
        text = ""
        async for chunk in await ask(model=MODEL, messages=[{"role": "user", "content": "Hi."}], stream=True):
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
        return text
    except Exception as error:
        return error
