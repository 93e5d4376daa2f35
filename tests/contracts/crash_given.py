"""What arrives at a handler, and what is stored before, for whatever may stop at any step."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from msgspec.structs import replace

from events.envelope import Envelope, Event, wrap
from events.jobs import JobDue
from events.requests import RequestDocument
from functions.request.lifecycle import finish
from tests.contracts.adapters import START
from tests.contracts.crashing import TENANT, World
from tests.support.wire import MODEL

KEEP_S = 1_000
LATER_S = 60.0  # longer than a document may owe events, and an attempt be silent

Arrives = Callable[[World], Awaitable[Envelope]]


def arriving(event: Event) -> Arrives:
    async def arrives(world: World) -> Envelope:
        return wrap(event, id="e1", source="/test", time=world.clock())

    return arrives


def due(job: str) -> Arrives:
    async def arrives(world: World) -> Envelope:
        now = world.clock()
        return wrap(JobDue(job=job, slot=now), id=f"{job} {now}", source="/scheduler", time=now)

    return arrives


end = partial(finish, status="completed", now=START, source="/test")


def document(name: str, **fields: object) -> RequestDocument:
    made = RequestDocument(
        id=name,
        tenant=TENANT,
        key_id="k1",
        url="/v1/chat/completions",
        model=MODEL,
        lane="interactive",
        state="routed",
        created_at=START,
        deadline_at=START + timedelta(seconds=500),
        expire_at=START + timedelta(seconds=KEEP_S),
        body_id=f"{name}-prompt",
        backend="pool",
        answer_to="topic",
    )
    return replace(made, **fields)


async def store(world: World, *documents: RequestDocument) -> None:
    for made in documents:
        await world.requests.create(made)
        world.names.append(made.id)
