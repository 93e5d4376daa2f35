"""Two routers on one store: of calls with the same key one is run, whichever router gets them."""

import asyncio
from itertools import count
from pathlib import Path

import pytest

from events.words import ApiKey
from services.adapters.local.master_key import FileMasterKey
from services.adapters.memory.bodies import MemoryBodies
from services.adapters.memory.data_keys import MemoryDataKeys
from services.front.call import Call, Listener, Reply
from services.front.limits import Budget
from services.router.idempotency.ports import Patience, Ports
from services.router.idempotency.runs import Runs
from services.router.metrics import Metrics
from services.sealing.sealer import Sealer
from services.wire.fields import Fields
from tests.contracts.adapters import START, Clock, KeyedCalls
from tests.contracts.crashing import Life
from tests.support.client import PATIENCE_S

pytestmark = pytest.mark.anyio

CALLER = ApiKey(hash="h", id="key_1", tenant="acme", name="", created_at=START)
QUICK = Patience(heartbeat_s=0.02, look_s=0.01, elsewhere_s=PATIENCE_S, skew_s=0.0)


class Told:
    """A client that listens."""

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self.status = 0
        self.fields: Fields = b""
        self.body = b""
        self.ended = asyncio.Event()

    def send(self, status: int, fields: Fields, body: bytes) -> None:
        self.start(status, fields)
        self.write(body)
        self.finish()

    def start(self, status: int, fields: Fields) -> None:
        self.status, self.fields = status, fields

    def write(self, data: bytes) -> None:
        self.body += data

    def finish(self) -> None:
        self.listener = None
        self.ended.set()

    def abort(self) -> None:
        self.finish()


class Router:
    """Answers calls with its number of them, when it may."""

    def __init__(self, runs: Runs, name: str) -> None:
        self.runs = runs
        self.name = name
        self.ran = 0
        self.may = asyncio.Event()
        self.may.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, body: bytes = b"{}", key: bytes = b"k") -> Told:
        told = Told()
        call = Call(b"POST", b"/v1/chat/completions", {b"idempotency-key": key}, body)
        self.runs.serve(CALLER, call, told, self._go)
        async with asyncio.timeout(6 * PATIENCE_S):
            await told.ended.wait()
        return told

    def _go(self, reply: Reply) -> None:
        self.ran += 1
        task = asyncio.create_task(self._answer(reply, f"{self.name}{self.ran}".encode()))
        self._tasks.add(task)

    async def _answer(self, reply: Reply, body: bytes) -> None:
        await self.may.wait()
        reply.send(200, b"x-request-id: %b\r\n" % body, body)


def router(name: str, calls: KeyedCalls, bodies: MemoryBodies, clock: Clock, sealer: Sealer) -> Router:
    ports = Ports(
        calls=calls,
        bodies=bodies,
        sealer=sealer,
        budget=Budget(2**20),
        metrics=Metrics({}),
        now=clock,
        owner=name,
        patience=QUICK,
    )
    return Router(Runs(ports), name)


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    return Sealer(FileMasterKey(tmp_path / "master-key"), MemoryDataKeys())


@pytest.fixture
def routers(keyed_calls: KeyedCalls, clock: Clock, sealer: Sealer) -> tuple[Router, Router]:
    bodies = MemoryBodies(clock)
    one, other = (router(name, keyed_calls, bodies, clock, sealer) for name in "ab")
    return one, other


async def test_what_one_answered_the_other_tells_again(routers: tuple[Router, Router]) -> None:
    one, other = routers
    first, second = await one.ask(), await other.ask()

    assert (200, b"a1", b"a1") == (first.status, first.body, second.body)
    assert first.fields + b"idempotent-replayed: true\r\n" == second.fields
    assert 422 == (await other.ask(b"{ }")).status
    assert (1, 0) == (one.ran, other.ran)


async def test_of_many_at_both_one_is_run(routers: tuple[Router, Router]) -> None:
    told = await asyncio.gather(*(router.ask() for router in routers for _ in range(3)))

    assert {(200, told[0].body)} == {(one.status, one.body) for one in told}
    assert 1 == sum(router.ran for router in routers)


async def test_the_other_waits_while_one_runs_longer_than_a_heartbeat(
    routers: tuple[Router, Router],
) -> None:
    one, other = routers
    one.may.clear()
    first = asyncio.create_task(one.ask())
    while not one.ran:
        await asyncio.sleep(0.005)
    second = asyncio.create_task(other.ask())
    await asyncio.sleep(0.1)
    one.may.set()

    assert (await first).body == (await second).body
    assert 0 == other.ran


async def test_what_one_left_behind_the_other_runs_once_its_lease_is_over(
    routers: tuple[Router, Router], clock: Clock
) -> None:
    one, other = routers
    one.may.clear()
    dead = asyncio.create_task(one.ask())
    while not one.ran:
        await asyncio.sleep(0.005)
    dead.cancel()
    (running,) = one.runs._tasks
    running.cancel()  # without a word to the store, as in a process that is killed
    await asyncio.gather(dead, running, return_exceptions=True)
    clock.forward(QUICK.lease_s + 1)
    told = await asyncio.gather(*(other.ask() for _ in range(3)))

    assert {(200, b"b1")} == {(each.status, each.body) for each in told}


async def test_after_its_time_a_key_is_new(routers: tuple[Router, Router], clock: Clock) -> None:
    one, other = routers
    await one.ask()
    clock.forward(QUICK.keep_s + 1)

    assert b"b1" == (await other.ask(b"{ }")).body


class Frozen(Life):
    """A process that stops at a call of a store, and never goes on."""

    async def end(self) -> None:
        await asyncio.Event().wait()

    async def after(self, work: object) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("late", [False, True])
async def test_a_router_may_stop_at_any_step_and_its_client_retries_elsewhere(
    keyed_calls: KeyedCalls, clock: Clock, sealer: Sealer, late: bool
) -> None:
    bodies = MemoryBodies(clock)
    for number in count(1):
        life, key = Frozen(number, late=late), f"k{number}".encode()
        dying = router("a", life.around(keyed_calls), life.around(bodies), clock, sealer)
        heir = router("b", keyed_calls, bodies, clock, sealer)
        asking = asyncio.create_task(dying.ask(key=key))
        while not (asking.done() or life.over):
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        told = asking.result() if asking.done() else None
        clock.forward(QUICK.lease_s + 1)
        second, third = await heir.ask(key=key), await heir.ask(key=key)

        assert 200 == second.status == third.status, life
        assert second.body == third.body
        assert b"idempotent-replayed" in third.fields
        if told is not None:  # whoever saw an answer gets this one
            assert (0, told.body) == (heir.ran, second.body)
        left = [asking, *dying.runs._tasks]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if not life.over:
            assert number == 4  # the key, the result, the key again
            return
