"""What the caching function keeps of what it hears, on stores in memory."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from events.cache import CacheOffered
from events.config import Backend, Config, Model
from events.envelope import Event, wrap
from events.inference import InferenceCompleted
from events.jobs import JobDue
from events.words import Invalid
from functions.caching import handler as caching
from functions.caching.entry import Entry, unpacked
from functions.caching.generations import Generations, purged
from services.pool.pool import Pool
from tests.contracts.adapters import START
from tests.contracts.crash_caching import an_answered_request_of_one_who_caches, caching_function
from tests.contracts.crash_given import TENANT
from tests.contracts.crashing import Life, World, empty_world
from tests.support.wire import MODEL, chat, completion

pytestmark = pytest.mark.anyio

CONFIG = Config(
    backends={"pool": Backend(replicas=("http://10.0.0.5:8000",))},
    models={MODEL: Model(backend="pool", cache_ttl_s=60)},
)
ENDED = InferenceCompleted(
    request_id="r1",
    tenant=TENANT,
    status="completed",
    attempts=1,
    model=MODEL,
    status_code=200,
    body_id="r1.1-answer",
)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return await empty_world(CONFIG, Pool(CONFIG), tmp_path)


async def hears(world: World, event: Event) -> Sequence[Entry]:
    """What is kept once an event was handled."""
    envelope = wrap(event, id="e1", source="/test", time=world.clock())
    assert [] == list(await caching_function(world, Life())(envelope))
    return world.cache.entries()


async def test_the_answer_of_a_queued_request_is_kept_as_long_as_its_model_says(world: World) -> None:
    await an_answered_request_of_one_who_caches(world)
    (entry,) = await hears(world, ENDED)
    answer = unpacked(await world.sealer.open(TENANT, "cache", entry.id, entry.sealed))

    assert (TENANT, MODEL, 60) == (entry.tenant, entry.model, (entry.expire_at - START).total_seconds())
    assert ((7, 2), True, False) == ((answer.usage.input, answer.usage.output), answer.counted, answer.stream)
    assert entry.id.startswith(entry.key)


Before = Callable[[World], Awaitable[None]]


async def turned_off(world: World) -> None:
    tenant = await world.keys.tenant(TENANT)
    assert tenant is not None
    await world.keys.change_tenant(replace(tenant, cache="off"))


async def purged_meanwhile(world: World) -> None:
    await world.cache.put_generations(purged(Generations(), "tenant", TENANT, START), 0)


async def served_elsewhere(world: World) -> None:
    world.config = replace(CONFIG, models={MODEL: Model(backend="other")})


async def configured_no_more(world: World) -> None:
    world.config = replace(CONFIG, models={})


async def put(name: str, kind: str, clear: bytes, world: World) -> None:
    sealed = await world.sealer.seal(TENANT, kind, name, clear)
    await world.bodies.put(name, sealed, world.clock.forward(0).replace(year=2030))


async def forgotten(body: str, world: World) -> None:
    await world.bodies.delete([body])


async def asked_elsewhere(world: World) -> None:
    found = await world.requests.get("r1")
    assert found is not None
    await world.requests.replace(replace(found.document, url="/v1/completions"), found.version)


NOT_KEPT: dict[str, Before] = {
    "of another endpoint": asked_elsewhere,
    "of who turned caching off": turned_off,
    "from before a purge": purged_meanwhile,
    "of a model that is served elsewhere now": served_elsewhere,
    "of a model that is no more": configured_no_more,
    "left to chance": partial(put, "r1-prompt", "prompt", chat(temperature=1)),
    "that was cut": partial(
        put, "r1.1-answer", "answer", completion(choices=[{"index": 0, "finish_reason": "length"}])
    ),
    "whose prompt is gone": partial(forgotten, "r1-prompt"),
    "that is gone": partial(forgotten, "r1.1-answer"),
}


@pytest.mark.parametrize("before", NOT_KEPT.values(), ids=NOT_KEPT)
async def test_an_answer_is_not_kept(world: World, before: Before) -> None:
    await an_answered_request_of_one_who_caches(world)
    await before(world)

    assert [] == await hears(world, ENDED)


@pytest.mark.parametrize(
    "ended",
    [{"status": "failed", "status_code": 400}, {"status": "expired", "body_id": None}, {"request_id": "r2"}],
    ids=["a failure", "no answer", "forgotten"],
)
async def test_what_is_no_answer_is_not_kept(world: World, ended: dict[str, Any]) -> None:
    await an_answered_request_of_one_who_caches(world)

    assert [] == await hears(world, replace(ENDED, **ended))


async def test_an_offer_that_comes_too_late_is_passed_over(world: World) -> None:
    offered = CacheOffered(
        key="k", tenant=TENANT, model=MODEL, entry_id="k-0.0.0.0", expire_at=START, sealed=b"sealed"
    )
    assert [] == await hears(world, offered)


async def test_what_is_not_for_it_is_invalid(world: World) -> None:
    with pytest.raises(Invalid, match=r"caching function does not consume .*job\.due"):
        await hears(world, JobDue(job="advise", slot=START))


def test_it_deletes_in_batches_a_store_takes() -> None:
    assert caching.DELETED_AT_ONCE <= 500
