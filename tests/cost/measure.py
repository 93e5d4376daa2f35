"""The measurements: an idle platform, synchronous requests, queued ones."""

import asyncio
import http.client
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from events.bus import Message
from events.catalog import JOBS, ingest_topic, subscriptions
from services.adapters.firestore.bodies import FirestoreBodies
from services.adapters.firestore.journal import FirestoreJournal
from services.adapters.firestore.ledger import FirestoreUsageLedger
from services.adapters.firestore.requests import FirestoreRequests
from services.runtime.process import utc_now
from tests.cost.counts import Counts, less, published, scaled, together
from tests.cost.edge import Edge
from tests.cost.load import Sent, body
from tests.cost.results import ByPart, Idle, Measured, Pages, by_part, pages_of
from tests.cost.site import PATIENCE_S, Site, until
from tests.cost.streamed import Streamed
from tests.support.pubsub_sink import PubSubSink, serving

PUSHES_AT_ONCE = 4
STARTED_S = 3.0  # within them a router has read what it reads at its start
GONE_AFTER = timedelta(days=3)  # by then whatever was kept of a request is deleted
ROOT = Path(__file__).parents[2]
BATCH = 100
# Read by every process again and again, and for no request.
POLLED = ("reads config", "reads ring", "reads generations")
# No load of requests; a backup costs what is exported, not operations on documents.
LEFT_OUT = ("take-backup",)


async def idle(site: Site, seconds: float) -> Idle:
    """A platform with one router that nobody asks, for a while; then each job once."""
    before = site.counted()
    async with _routers(site, "", 1, []):
        start = _since(before, site.counted()).get("router", {})
        before = site.counted()
        await asyncio.sleep(seconds)
        polls = _since(before, site.counted(), 1 / seconds)
        jobs = {}
        for job in JOBS:
            if job.name not in LEFT_OUT:
                before, began = site.counted(), time.monotonic()
                await site.run_job(job.name)
                ran_s = time.monotonic() - began
                jobs[job.name] = _without(_since(before, site.counted()), polls, ran_s)
    return Idle(start=start, polls=polls, jobs=jobs)


class Period:
    """From `began` on: what all parts did, less what they do anyway."""

    def __init__(self, site: Site, idle: Idle) -> None:
        self._site = site
        self._idle = idle
        self._before = site.counted()
        self._began = time.monotonic()

    def counts(self, jobs: Sequence[str]) -> ByPart:
        """So far; these jobs ran, each once."""
        found = _since(self._before, self._site.counted())
        found = _without(found, self._idle.polls, time.monotonic() - self._began)
        for job in jobs:
            found = _without(found, self._idle.jobs[job], 1.0)
        return {part: _own(counts) for part, counts in found.items()}


def _own(counts: dict[str, float]) -> dict[str, float]:
    return {name: number for name, number in counts.items() if number and name not in POLLED}


def _since(before: dict[str, Counts], after: dict[str, Counts], factor: float = 1.0) -> ByPart:
    return by_part({name: scaled(after[name] - before.get(name, Counts()), factor) for name in after})


def _without(counts: ByPart, others: ByPart, times: float) -> ByPart:
    return {part: less(found, scaled(others.get(part, {}), times)) for part, found in counts.items()}


async def synchronous(
    site: Site,
    anyway: Idle,
    rate: float,
    seconds: float,
    *,
    routers: int = 1,
    tenants: int = 3,
    sink: bool = False,
) -> Measured:
    """Calls at a rate, of so many tenants through so many routers; then the books, and one sweep.

    `sink`: what the routers publish goes to a server that keeps it, because the emulator cannot carry so
    much; afterwards it is pushed to the functions.
    """
    billed, requests = await site.billed(), list[Any]()
    async with _sink(requests, wanted=sink) as address:
        async with _routers(site, address, routers, site.keys[:tenants]) as made:
            period = Period(site, anyway)
            sent = await _load(made, site.keep_keys(tenants), rate, seconds)
        # At their end they publish all they have.
        requests += [request for _, edge in made for request in edge.published]
    if sink:
        await _push(site, requests)
    await until(lambda: _reached(site, billed + sent.answered), "every answer is billed")
    await site.run_job("settle-usage")
    counts = period.counts(["settle-usage"])
    if sink:
        of_sink = [published(request.topic.rpartition("/")[2], request.messages) for request in requests]
        counts["router"] = together([counts.get("router", {}), *of_sink])
    pages = pages_of(requests)
    return Measured(
        name=f"{rate:g}/s",
        way="sink" if sink else "emulator",
        rate=sent.rate,
        requests=sent.answered,
        routers=routers,
        tenants=tenants,
        late_ms=sent.late_ms,
        pages=pages,
        counts=counts,
        problems=_problems(sent, await site.billed() - billed, pages),
    )


@asynccontextmanager
async def _sink(requests: list[Any], *, wanted: bool) -> AsyncIterator[str]:
    if not wanted:
        yield ""
        return
    async with serving(PubSubSink(keep=True)) as sink:
        sink.requests = requests
        yield sink.address


@asynccontextmanager
async def _routers(
    site: Site, pubsub: str, number: int, keys: Sequence[str]
) -> AsyncIterator[list[tuple[int, Edge]]]:
    """Routers that have read what they read at their start, and these keys."""
    async with AsyncExitStack() as stack:
        made = [await stack.enter_async_context(site.router(pubsub)) for _ in range(number)]
        await asyncio.gather(*(asyncio.to_thread(_greet, port, keys) for port, _ in made))
        await asyncio.sleep(STARTED_S)
        yield made


def _greet(port: int, keys: Sequence[str]) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        for key in keys:
            connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status


async def _load(routers: Sequence[tuple[int, Edge]], keys: Path, rate: float, seconds: float) -> Sent:
    ports = [str(port) for port, _ in routers]
    options = ("--keys", str(keys), f"--rate={rate}", f"--seconds={seconds}")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "tests.cost.load", *ports, *options),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return msgspec.json.decode(output, type=Sent)


async def _reached(site: Site, number: int) -> bool:
    return await site.billed() >= number


def _problems(sent: Sent, billed: int, pages: Pages) -> tuple[str, ...]:
    """What does not add up."""
    told = {
        f"{sent.failed} calls failed": sent.failed,
        f"{billed} requests are billed, {sent.answered} were answered": billed != sent.answered,
        f"{pages.started} starts are recorded": pages.started != sent.answered + sent.failed,
        f"{pages.completed} ends are recorded": pages.completed != pages.started,
    }
    return tuple(problem for problem, there in told.items() if there)


async def _push(site: Site, requests: Iterable[Any]) -> None:
    """Pushes what was published to the functions that consume it, as Pub/Sub does."""
    waiting = asyncio.Queue[tuple[str, int, Any]]()
    for request in requests:
        topic = request.topic.rpartition("/")[2]
        for one in subscriptions():
            if one.topic == topic and one.consumer in site.ports:
                for message in request.messages:
                    waiting.put_nowait((one.name, site.ports[one.consumer], message))

    async def work() -> None:
        while not waiting.empty():
            await asyncio.to_thread(_deliver, *waiting.get_nowait())

    await asyncio.gather(*(work() for _ in range(PUSHES_AT_ONCE)))


def _deliver(subscription: str, port: int, message: Any) -> None:
    headers = {**message.attributes, "x-goog-pubsub-subscription-name": subscription}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        for _ in range(5):
            connection.request("POST", "/", message.data, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 204:
                return
    raise RuntimeError(f"{subscription} answered {answer.status}")


async def queued(
    site: Site,
    anyway: Idle,
    rate: float,
    number: int,
    *,
    posted: bool = False,
    streamed: Streamed | None = None,
) -> Measured:
    """So many requests of three tenants, published to their ingest topics or posted to a router, until
    nothing is left of them. `streamed`: they are responses in the background, posted.
    """
    posted = posted or streamed is not None
    billed = await site.billed()
    async with AsyncExitStack() as stack:
        keys = site.keys[: len(site.ingesting)]
        made = await stack.enter_async_context(_routers(site, "", int(posted), keys))
        port = made[0][0] if posted else 0
        period = Period(site, anyway)
        took_s = await _hand_in(site, rate, number, port, streamed)
        await until(lambda: _reached(site, billed + number), "every request is answered and billed")
        requests = FirestoreRequests(site.database, utc_now)
        await until(lambda: _paid(requests), "every event is published")
        jobs = ("sweep-requests", "settle-usage")
        for job in jobs:
            await site.run_job(job)
        await _forget(site, number)
        counts = period.counts(jobs)
    found = await site.billed() - billed
    return Measured(
        name=f"{rate:g}/s",
        way=streamed.way if streamed is not None else "posted" if posted else "published",
        rate=rate if streamed is not None else number / took_s,  # following takes its time
        requests=number,
        routers=int(posted),
        tenants=len(site.ingesting),
        late_ms=max(0.0, took_s - number / rate) * 1000,
        pages=Pages(),
        counts=counts,
        problems=() if found == number else (f"{found} requests are billed",),
    )


async def _hand_in(site: Site, rate: float, number: int, port: int, streamed: Streamed | None) -> float:
    """At an even pace, or as fast as they are taken."""
    began = time.monotonic()
    turns = asyncio.Semaphore(PUSHES_AT_ONCE * 4)

    async def one(which: int) -> None:
        async with turns:
            tenant = which % len(site.ingesting)
            if streamed is not None:
                await asyncio.to_thread(streamed.begin, port, site.keys[tenant])
            elif port:
                await asyncio.to_thread(_post, port, site.keys[tenant])
            else:
                topic = ingest_topic(site.ingesting[tenant])
                await site.app.publish([Message(topic=topic, attributes={}, data=body(stream=False))])

    async with asyncio.TaskGroup() as group:
        for which in range(number):
            await asyncio.sleep(max(0.0, began + which / rate - time.monotonic()))
            group.create_task(one(which))
    return time.monotonic() - began


def _post(port: int, key: str) -> None:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        connection.request("POST", "/v1/requests", body(stream=False), headers)
        assert connection.getresponse().status == 202


async def _paid(requests: FirestoreRequests) -> bool:
    return not await requests.owing(utc_now() + GONE_AFTER, 1)


async def _forget(site: Site, number: int) -> None:
    """What the dispatcher's sweep does once their time is over, days before it is."""
    later = utc_now() + GONE_AFTER
    requests, bodies = FirestoreRequests(site.later, utc_now), FirestoreBodies(site.later, utc_now)
    gone = 0
    while found := await requests.forget(later, BATCH):
        gone += len(found)
    while await bodies.forget(later, BATCH):
        pass
    while await FirestoreJournal(site.later, utc_now).forget(later, BATCH):
        pass
    assert gone == number, (gone, number)


async def reading_usage(site: Site) -> tuple[int, int]:
    """How many documents are read to show the sums, and how many lines that are."""
    edge = await site.edge("usage")
    ledger = FirestoreUsageLedger(site.database_at(edge), utc_now)
    lines = len(await ledger.usage())
    return round(sum(edge.counts.values())), lines
