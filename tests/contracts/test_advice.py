from datetime import timedelta

import pytest
from msgspec.structs import replace

from events.config import Backend, Fleet
from events.fleet import BackendCalls, BackendPressure, LanePressure, ReplicaCalls
from events.words import Conflict
from functions.autoscale.measurement import Window, hear_dispatcher, hear_router
from functions.autoscale.standing import Standing, judged
from tests.contracts.adapters import START, Advice

pytestmark = pytest.mark.anyio

BACKEND = Backend(replicas=("http://10.0.0.5:8000",), fleet=Fleet(max=9, boot_s=60))


def full(name: str) -> Standing:
    """A standing with something in every field."""
    standing = Standing(backend=name)
    window = Window(producer="d1", at=START, length_s=10)
    lane = LanePressure(
        lane="batch", queued=90, oldest_s=1.5, running=2.5, arrived=7, finished=3, service_s=2
    )
    pressure = BackendPressure(backend=name, replicas=2, lanes=(lane,))
    measured = hear_dispatcher(standing.measured, pressure, window, slots=16, replica_slots=4)
    assert measured is not None
    calls = BackendCalls(backend=name, replicas=(ReplicaCalls(url="http://10.0.0.5:8000", in_flight=30.5),))
    measured = hear_router(measured, calls, replace(window, producer="r1"))
    assert measured is not None
    made = judged(replace(standing, measured=measured), BACKEND, cause="e1", at=START)
    return judged(made, BACKEND, cause="e2", at=START + timedelta(minutes=2))


async def test_a_standing_comes_back_as_it_was_put(advice: Advice) -> None:
    await advice.put(full("pool"), 0)
    stored, version = await advice.standing("pool")

    assert full("pool") == stored
    assert full("pool").answer_to("e1") is not None
    assert version > 0


async def test_of_what_was_never_judged_nothing_is_remembered(advice: Advice) -> None:
    assert (Standing(backend="pool"), 0) == await advice.standing("pool")
    assert [] == list(await advice.standings())


async def test_every_standing_is_listed_by_backend(advice: Advice) -> None:
    for name in ("pool", "gemini/2 é", "ä"):
        await advice.put(Standing(backend=name), 0)
    await advice.put(full("pool"), (await advice.standing("pool"))[1])

    assert [Standing(backend="gemini/2 é"), full("pool"), Standing(backend="ä")] == list(
        await advice.standings()
    )


async def test_of_two_that_put_on_the_same_version_one_succeeds(advice: Advice) -> None:
    await advice.put(Standing(backend="pool"), 0)
    with pytest.raises(Conflict, match="pool"):
        await advice.put(full("pool"), 0)
    _, version = await advice.standing("pool")
    await advice.put(full("pool"), version)
    with pytest.raises(Conflict, match="pool"):
        await advice.put(Standing(backend="pool"), version)

    assert full("pool") == (await advice.standing("pool"))[0]


async def test_what_was_never_put_cannot_be_put_on_a_version(advice: Advice) -> None:
    with pytest.raises(Conflict, match="pool"):
        await advice.put(full("pool"), 3_000)


async def test_the_same_put_again_is_another_version(advice: Advice) -> None:
    await advice.put(full("pool"), 0)
    _, version = await advice.standing("pool")
    await advice.put(full("pool"), version)

    with pytest.raises(Conflict):
        await advice.put(full("pool"), version)
