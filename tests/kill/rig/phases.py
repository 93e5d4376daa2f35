"""Where in the life of a request the platform is struck; each says whether it struck where it should."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.kill.rig.load import Work
from tests.kill.rig.processes import LOOK_EVERY_S, PATIENCE_S, until
from tests.kill.rig.remains import half_done
from tests.kill.rig.rig import CLOCK_SKEW_S, SWEEP_EVERY_S, Rig
from tests.kill.rig.strace import Write, die, disturbed, hang, slow

PROBES = 4
READERS = 2
MORE_THAN_ENOUGH = 1_000  # tokens
A_FEW = 20  # of them
SLOW_WRITE_MS = 20  # as long as a usage record waits for company
RESULT_SYNCS = 6  # from the end of an answer under a key to its bill, about
NEVER_S = "3600"
DIES_WITHIN_S = 5.0
JUST_NOW_S = 0.5
SHORT_LEASE_S = 1.0
SECOND_ATTEMPT_S = 5.0


async def before_started(rig: Rig) -> bool:
    """The engine has begun, and the commit of `started` hangs: no byte may reach a client."""
    async with disturbed(rig.platform.pid, hang(_commit(rig))):
        began = time.time()
        probes = rig.load.probe(streams=PROBES // 2, wholes=PROBES // 2, tokens=20)
        await until(lambda: rig.engine.accepted_since(began) >= PROBES, "the engine begins")
        await asyncio.sleep(rig.dice.uniform(0.0, 0.4))
        rig.kill("before_started", still_since=began)
    await until(lambda: all(call.over for call in probes), "clients are cut")
    assert not any(call.saw_byte for call in probes), "a byte was seen before its start was durable"
    return True


async def streaming(rig: Rig) -> bool:
    """Clients have seen tokens, and the engine pauses; sometimes for long, so that progress is recorded. Some
    of them will come again: with a key, or as readers of a response in the background.
    """
    tokens = rig.dice.choice([1, 10, 900])
    await rig.engine.hold("after_tokens", tokens)
    probes = rig.load.probe(streams=PROBES, tokens=MORE_THAN_ENOUGH)
    rig.load.retry(streams=1, wholes=1, tokens=min(tokens, A_FEW) + A_FEW)
    rig.load.follow(min(tokens, A_FEW) + A_FEW)
    await until(lambda: all(call.tokens >= tokens for call in probes), "clients see tokens")
    await asyncio.sleep(rig.dice.choice([0.0, 0.5, 2.5]))
    rig.kill("streaming")
    await until(lambda: all(call.over for call in probes), "clients are cut")
    return not any(call.whole for call in probes)


async def before_completed(rig: Rig) -> bool:
    """Clients have all of their answers, and the commit of `completed` hangs."""
    await rig.engine.hold("before_end")
    probes = rig.load.probe(streams=PROBES // 2, wholes=PROBES // 2, tokens=30)
    await _held(rig, PROBES)
    await asyncio.sleep(0.3)  # for the commit of `started`
    async with disturbed(rig.platform.pid, hang(_commit(rig))):
        hung = time.time()
        await rig.engine.release()
        await until(lambda: all(call.answered for call in probes), "clients have their answers")
        rig.kill("before_completed", still_since=hung)
    return True


async def mid_result(rig: Rig, at: int | None = None) -> bool:
    """Calls with a key have their answers from the engine, and on the way of these to the store, to the
    client and to the ledger the `at`-th sync is the last: any, unless it is given. The disk is slow, so that
    whoever does not wait for another is ahead of it.
    """
    await rig.idle()
    await rig.engine.hold("before_end")
    rig.load.retry(streams=PROBES // 2, wholes=PROBES // 2, tokens=30)
    await _held(rig, PROBES)
    await asyncio.sleep(0.3)  # for the commit of `started`
    at = at or rig.dice.randint(1, RESULT_SYNCS)
    async with disturbed(rig.platform.pid, die("fdatasync", at=at), slow("pwrite64", by_ms=SLOW_WRITE_MS)):
        in_flight = rig.load.in_flight
        await rig.engine.release()
        struck = await rig.platform.dies(within_s=DIES_WITHIN_S)
        rig.note_kill("mid_result", time.time(), in_flight)
    rig.platform.kill()
    return struck


async def mid_commit(rig: Rig) -> bool:
    """Under load, one of the next writes or syncs is the last."""
    call = _commit(rig)
    at = rig.dice.randint(1, 200 if call == "pwrite64" else 30)
    async with disturbed(rig.platform.pid, die(call, at=at)):
        in_flight = rig.load.in_flight
        died = await rig.platform.dies(within_s=DIES_WITHIN_S)
        rig.note_kill("mid_commit", time.time(), in_flight)
    rig.platform.kill()
    return died and _was_busy(rig)


async def drained(rig: Rig) -> bool:
    """Under load, the platform is asked to end, with no time to end what is under way."""
    struck = _was_busy(rig)
    await rig.platform.stop()
    return struck


async def mid_ack(rig: Rig, at: int | None = None) -> bool:
    """One request is published to an idle platform, whose `at`-th sync is its last: a sync further on
    with every strike, unless it is given.

    It struck where a message is left on the bus though what it asks for is done.
    """
    await rig.idle()
    await rig.restart(JOB_EVERY_S=NEVER_S)  # nothing else commits
    async with disturbed(rig.platform.pid, die("fdatasync", at=at or next(rig.chain))):
        rig.load.publish()
        struck = await rig.platform.dies(within_s=DIES_WITHIN_S)
        rig.note_kill("mid_ack", time.time(), 0)
    rig.platform.kill()
    await rig.platform.gone()
    return struck and bool(await half_done(rig.platform.data))


async def lost_leases(rig: Rig) -> bool:
    """The platform lives, but is frozen for longer than its leases: others are sent after its attempts.

    It never renews a lease, or it would do so first thing on its return. It struck where the engine had
    two attempts at one request in hand, so that both end at once and the fence decides.
    """
    await rig.idle()
    await rig.restart(LEASE_S=f"{SHORT_LEASE_S:g}", HEARTBEAT_S=NEVER_S)
    await rig.engine.hold("before_end")
    rig.load.begin(Work(queued=2 * PROBES, synchronous=PROBES))
    for _ in range(READERS):
        rig.load.follow(A_FEW)
    await _held(rig, 3 * PROBES + READERS)
    rig.platform.freeze()
    await asyncio.sleep(SHORT_LEASE_S + CLOCK_SKEW_S + SWEEP_EVERY_S)
    rig.platform.thaw()
    struck = await _held_twice(rig)
    await rig.engine.release()
    await rig.idle()
    await rig.restart()
    return struck


def _was_busy(rig: Rig) -> bool:
    """Whether the platform called the engine just now."""
    return rig.engine.accepted_since(time.time() - JUST_NOW_S) > 0


def _commit(rig: Rig) -> Write:
    """Before anything of a commit is stored, or after all of it is."""
    return rig.dice.choice(["pwrite64", "fdatasync"])


async def _held(rig: Rig, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(await rig.engine.held()) < count:
            await asyncio.sleep(LOOK_EVERY_S)


async def _held_twice(rig: Rig) -> bool:
    """Whether the engine holds two attempts at a request, soon."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SECOND_ATTEMPT_S):
            while True:
                requests = Counter(attempt.rpartition(".")[0] for attempt in await rig.engine.held())
                if max(requests.values(), default=0) > 1:
                    return True
                await asyncio.sleep(LOOK_EVERY_S)
    return False


Strike = Callable[[Rig], Awaitable[bool]]

UNDER_LOAD: dict[str, Strike] = {
    "before_started": before_started,
    "streaming": streaming,
    "before_completed": before_completed,
    "mid_commit": mid_commit,
    "drained": drained,
}
WHEN_IDLE: dict[str, Strike] = {"mid_result": mid_result, "mid_ack": mid_ack, "lost_leases": lost_leases}
