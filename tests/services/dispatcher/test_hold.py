"""The chain of writes that only a claim's owner can make, where the store is away, slow or silent."""

import asyncio
import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from events.requests import Claim, RequestDocument, Versioned
from events.words import Conflict, Unavailable
from services.dispatcher.hold import Hold
from services.dispatcher.ports import Pace
from tests.services.dispatcher.world import Requests
from tests.support.clock import now

pytestmark = pytest.mark.anyio

PATIENCE_S = 10.0


def document(name: str = "r1", lease_s: float = 30) -> RequestDocument:
    return RequestDocument(
        id=name,
        tenant="acme",
        key_id="k1",
        url="/v1/chat/completions",
        model="gemma",
        lane="interactive",
        state="running",
        created_at=now(),
        deadline_at=now() + timedelta(seconds=60),
        expire_at=now() + timedelta(seconds=600),
        body_id="b",
        attempts=1,
        claim=Claim(owner="d1", lease_until=now() + timedelta(seconds=lease_s)),
    )


@pytest.fixture
def requests() -> Requests:
    return Requests(now)


PACE = Pace(lease_s=30, heartbeat_s=0.01, cancel_check_s=60, skew_s=0)


async def held(requests: Requests, name: str = "r1", lease_s: float = 30, **changed: Any) -> Hold:
    claimed = await requests.create(document(name, lease_s))
    requests.asked.clear()
    return Hold(claimed, requests, dataclasses.replace(PACE, **changed), now)


async def stored(requests: Requests, name: str = "r1") -> Versioned:
    found = await super(Requests, requests).get(name)
    assert found is not None
    return found


async def lease_until(requests: Requests, name: str = "r1") -> datetime:
    claim = (await stored(requests, name)).document.claim
    assert claim is not None
    return claim.lease_until


async def kept(hold: Hold, seconds: float) -> None:
    """Keeps it for a while; it must not be lost."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await hold.keep()


async def renewed(hold: Hold, requests: Requests) -> bool:
    """Keeps it until its lease lasts longer than it did."""
    before = await lease_until(requests)
    keeping = asyncio.create_task(hold.keep())
    async with asyncio.timeout(PATIENCE_S):
        while await lease_until(requests) <= before:
            await asyncio.sleep(0.005)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    return True


async def until_lost(hold: Hold) -> None:
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Conflict):
            await hold.keep()


async def moved(requests: Requests) -> None:
    """Somebody else writes the document."""
    found = await stored(requests)
    await requests.replace(replace(found.document, state="cancelled", claim=None), found.version)


# --- heartbeats


async def test_a_heartbeat_renews_the_lease(requests: Requests) -> None:
    hold = await held(requests)
    assert await renewed(hold, requests)


async def test_heartbeats_alone_notice_that_a_document_was_taken_away(requests: Requests) -> None:
    hold = await held(requests)
    keeping = asyncio.create_task(until_lost(hold))
    await asyncio.sleep(0.05)
    assert 0 == requests.asked["get"]
    await moved(requests)
    await keeping
    assert 1 == requests.asked["get"]  # to see whether it was a write of its own


async def test_looks_in_between_notice_it_sooner_and_write_nothing(requests: Requests) -> None:
    hold = await held(requests, heartbeat_s=60, cancel_check_s=0.01)
    keeping = asyncio.create_task(until_lost(hold))
    async with asyncio.timeout(PATIENCE_S):
        while not requests.asked["get"]:
            await asyncio.sleep(0.005)
    assert 0 == requests.asked["replace"]
    await moved(requests)
    await keeping


async def test_a_heartbeat_that_fails_takes_nothing_before_the_lease_ends(requests: Requests) -> None:
    hold = await held(requests)
    requests.away = True
    await kept(hold, 0.1)
    requests.away = False
    assert await renewed(hold, requests)


@pytest.mark.parametrize("skew_s", [0.0, 29.9])
async def test_a_lease_that_cannot_be_renewed_ends_by_the_clock_allowing_for_skew(
    requests: Requests, skew_s: float
) -> None:
    hold = await held(requests, lease_s=0.1 + skew_s, skew_s=skew_s)
    requests.away = True
    began = asyncio.get_running_loop().time()
    await until_lost(hold)
    assert 0.09 < asyncio.get_running_loop().time() - began


async def test_looks_that_fail_take_nothing(requests: Requests) -> None:
    hold = await held(requests, heartbeat_s=60, cancel_check_s=0.01)
    requests.away = True
    await kept(hold, 0.1)


async def test_a_call_that_hangs_holds_up_no_other_run(requests: Requests) -> None:
    stuck, other = await held(requests), await held(requests, "r2")
    requests.stuck["r1"] = asyncio.Event()
    before = await lease_until(requests, "r2")
    await asyncio.gather(kept(stuck, 0.1), kept(other, 0.1))
    assert before < await lease_until(requests, "r2")


# --- writes nobody heard of


@pytest.mark.parametrize("changed", [{}, {"cancel_check_s": 0.005}], ids=["heartbeats", "looks"])
async def test_heartbeats_that_took_place_unheard_do_not_look_like_somebody_elses(
    requests: Requests, changed: dict[str, Any]
) -> None:
    hold = await held(requests, **changed)
    requests.unheard = True
    await kept(hold, 0.1)
    requests.unheard = False
    await kept(hold, 0.1)
    await hold.write_once(replace(hold.document, state="routed", claim=None))
    assert "routed" == (await stored(requests)).document.state


async def test_a_conclusion_that_took_place_unheard_is_recognised(requests: Requests) -> None:
    hold = await held(requests)
    ended = replace(hold.document, state="completed", claim=None)
    requests.unheard = True
    writing = asyncio.create_task(hold.write(ended))
    await asyncio.sleep(0.05)
    requests.unheard = False
    async with asyncio.timeout(PATIENCE_S):
        await writing
    found = await stored(requests)
    assert (found.document, found.version) == (hold.document, hold.version) == (ended, 2)


async def test_a_conclusion_that_took_place_unheard_stands(requests: Requests) -> None:
    hold = await held(requests)
    before, ended = hold.document, replace(hold.document, state="completed", claim=None)
    requests.unheard = True
    with pytest.raises(Unavailable):
        await hold.write_once(ended)
    requests.unheard = False
    with pytest.raises(Conflict):
        await hold.write_once(replace(before, state="routed", claim=None))
    assert ended == (await stored(requests)).document


async def test_what_somebody_else_wrote_is_never_overwritten(requests: Requests) -> None:
    hold = await held(requests)
    requests.away = True
    with pytest.raises(Unavailable):
        await hold.write_once(replace(hold.document, failures=1))
    requests.away = False
    await moved(requests)
    with pytest.raises(Conflict):
        await hold.write(replace(hold.document, state="completed", claim=None))
    assert "cancelled" == (await stored(requests)).document.state


# --- insisting


async def test_a_write_is_tried_again_while_the_lease_holds(requests: Requests) -> None:
    hold = await held(requests)
    requests.away = True
    writing = asyncio.create_task(hold.write(replace(hold.document, state="completed", claim=None)))
    await asyncio.sleep(0.05)
    assert not writing.done()
    requests.away = False
    async with asyncio.timeout(PATIENCE_S):
        await writing
    assert "completed" == (await stored(requests)).document.state


async def test_a_write_is_given_up_when_the_lease_ends(requests: Requests) -> None:
    hold = await held(requests, lease_s=0.1)
    requests.away = True
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Unavailable):
            await hold.write(replace(hold.document, state="completed", claim=None))
