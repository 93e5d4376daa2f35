"""The caching function, to be stopped at every step."""

from datetime import timedelta
from functools import partial

from msgspec.structs import replace

from events.cache import CacheOffered, CachePurged
from events.envelope import Envelope
from events.inference import completed_event
from events.requests import Answer
from events.words import Tenant
from functions.caching import handler as caching
from functions.caching.entry import Entry
from services.pool.sse import read_answer
from tests.contracts.adapters import START
from tests.contracts.crash_given import KEEP_S, LATER_S, TENANT, Arrives, arriving, document, due, end, store
from tests.contracts.crashing import Handle, Handled, Life, World, consuming
from tests.support.wire import MODEL, chat, completion, usage


async def an_answered_request_of_one_who_caches(world: World) -> None:
    await world.keys.add_tenant(Tenant(id=TENANT, name="Acme", created_at=START, cache="on"))
    answer = Answer(status_code=200, body_id="r1.1-answer")
    made = replace(end(document("r1", attempts=1), keep_s=KEEP_S, answer=answer), owed=())
    for kind, name, clear in (
        ("prompt", made.body_id, chat(temperature=0)),
        ("answer", answer.body_id, completion(usage=usage(7, 2))),
    ):
        await world.bodies.put(name, await world.sealer.seal(TENANT, kind, name, clear), made.expire_at)
    await store(world, made)


async def answers_that_are_kept(world: World) -> None:
    """More of one model than are deleted at once, and one of another."""
    for number in range(caching.DELETED_AT_ONCE + 1):
        await keep(world, f"k{number}", MODEL)
    await keep(world, "other", "another model")


async def keep(world: World, key: str, model: str) -> None:
    sealed = await world.sealer.seal(TENANT, "cache", key, b"Hello.")
    expire_at = START + timedelta(seconds=10 if model == MODEL else 2 * LATER_S)
    entry = Entry(id=key, key=key, tenant=TENANT, model=model, expire_at=expire_at, sealed=sealed)
    await world.cache.put(entry)


async def old_answers(world: World) -> None:
    await answers_that_are_kept(world)
    world.clock.forward(LATER_S)


def offered() -> Arrives:
    async def arrives(world: World) -> Envelope:
        event = CacheOffered(
            key="k1",
            tenant=TENANT,
            model=MODEL,
            entry_id="k1-0.0.0.0",
            expire_at=START + timedelta(seconds=KEEP_S),
            sealed=await world.sealer.seal(TENANT, "cache", "k1-0.0.0.0", b"Hello."),
        )
        return await arriving(event)(world)

    return arrives


def ended() -> Arrives:
    async def arrives(world: World) -> Envelope:
        (made,) = await world.documents()
        return await arriving(completed_event(made))(world)

    return arrives


def caching_function(world: World, life: Life) -> Handle:
    ports = caching.Ports(
        cache=life.around(world.cache),
        tenants=life.around(world.keys),
        requests=life.around(world.requests),
        bodies=life.around(world.bodies),
        sealer=life.around(world.sealer),
        config=lambda: world.config,
        usage_of=read_answer,
    )
    return partial(caching.handle, ports=ports)


HANDLED_BY_CACHING = (
    Handled(name="caching", process=consuming(offered(), caching_function)),
    Handled(
        name="caching of a queued request",
        given=an_answered_request_of_one_who_caches,
        process=consuming(ended(), caching_function),
    ),
    Handled(
        name="purge",
        given=answers_that_are_kept,
        process=consuming(arriving(CachePurged(scope="model", name=MODEL)), caching_function),
    ),
    Handled(name="caching job", given=old_answers, process=consuming(due("sweep-cache"), caching_function)),
)
