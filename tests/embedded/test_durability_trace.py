"""What is acknowledged is on the disk: seen from outside, in the order of the platform's system calls."""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kill.rig.calls import Call
from tests.kill.rig.processes import Engine, Platform
from tests.kill.rig.requests import queued, synchronous
from tests.kill.rig.strace import watched
from tests.needs import needs

READS = frozenset({"read", "recvfrom"})
WRITES = frozenset({"write", "writev", "sendto", "sendmsg"})
STORES = frozenset({"write", "pwrite64"})
SYNCS = frozenset({"fdatasync", "fsync"})

_BEGINS = re.compile(r"(\d+) +(\w+)\(\d+<((?:TCP:\[.*?\])|[^>]*)>(.*)")
_RESUMES = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")


@dataclass(slots=True)
class SystemCall:
    """One call on a file or socket; `began` and `returned` are lines of the trace."""

    name: str
    file: str
    carried: str
    began: int
    returned: float = float("inf")


def calls_of(trace: Iterable[str]) -> list[SystemCall]:
    """The calls of all threads, in the order they began."""
    found: list[SystemCall] = []
    under_way: dict[str, SystemCall] = {}  # by thread
    for line, text in enumerate(trace):
        if begins := _BEGINS.match(text):
            thread, name, file, carried = begins.groups()
            call = under_way[thread] = SystemCall(name, file, carried, began=line)
            found.append(call)
            if not carried.endswith("<unfinished ...>"):
                call.returned = line
        elif (resumes := _RESUMES.match(text)) and resumes[1] in under_way:
            call = under_way[resumes[1]]
            call.carried += resumes[2]
            call.returned = line
    return found


def synced_before_answer(calls: Sequence[SystemCall], request_id: str, record: str) -> bool:
    """Whether the record was written after the request arrived, and synced before its answer began."""
    answer = next(c for c in calls if c.name in WRITES and f"x-request-id: {request_id}" in c.carried)
    arrival = next(c for c in calls if c.name in READS and c.file == answer.file)
    stored = [
        c
        for c in calls
        if c.name in STORES and record in c.carried and arrival.returned < c.began < answer.began
    ]
    return any(
        store.returned < sync.began and sync.returned < answer.began
        for store in stored
        for sync in calls
        if sync.name in SYNCS and sync.file == store.file
    )


def told(name: str, value: str) -> str:
    """A field of a JSON document as strace shows it."""
    return rf"\"{name}\":\"{value}\""


# --- the platform


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    engine = Engine(tmp_path)
    await engine.start()
    made = Platform(tmp_path, engine.url, {}, None)
    try:
        await made.start()
        yield made
    finally:
        if made.alive:
            await made.stop()
        await engine.stop()


def started(call: Call) -> str:
    """The record of the attempt that answers."""
    return told("attempt", f"{call.headers['x-request-id']}.1")


def document(call: Call) -> str:
    """The request's document."""
    return told("id", call.json["id"])


def message(call: Call) -> str:
    """The message on the ingest topic."""
    return told("ce-id", call.json["message_id"])


@pytest.mark.anyio
@pytest.mark.slow
@needs("strace", "apt install strace")
async def test_every_answer_waits_for_its_record_to_be_synced(platform: Platform, tmp_path: Path) -> None:
    records = {
        synchronous(platform, "Hi.", 5, stream=False): started,
        synchronous(platform, "Hi.", 5, stream=True): started,
        queued(platform, "Hi.", 5, "posted"): document,
        queued(platform, "Hi.", 5, "published"): message,
    }
    async with watched(platform.pid, READS | WRITES | STORES | SYNCS, into=tmp_path / "trace"):
        for call in records:
            await call.run(platform.port)

    calls = calls_of((tmp_path / "trace").read_text().splitlines())
    assert [200, 200, 202, 202] == [call.status for call in records]
    assert [True] * 4 == [
        synced_before_answer(calls, call.headers["x-request-id"], record(call))
        for call, record in records.items()
    ]


# --- the reading of traces

ARRIVAL = '7 read(5<TCP:[a:1->b:2]>, "POST / HTTP/1.1", 99) = 15'
STORE = '8 pwrite64(9</d/data.db-wal>, "..record..", 10, 0) = 10'
SYNC_BEGINS = "8 fdatasync(9</d/data.db-wal> <unfinished ...>"
OTHER_THREAD = '7 read(3<anon_inode:[eventfd]>, "\\1", 8) = 8'
SYNC_ENDS = "8 <... fdatasync resumed>) = 0"
ANSWER = '7 write(5<TCP:[a:1->b:2]>, "HTTP/1.1 200 OK\\r\\nx-request-id: req_1\\r\\n", 40) = 40'

IN_ORDER = [ARRIVAL, STORE, SYNC_BEGINS, OTHER_THREAD, SYNC_ENDS, ANSWER]


def test_a_trace_in_order_is_believed() -> None:
    assert synced_before_answer(calls_of(IN_ORDER), "req_1", "..record..")


@pytest.mark.parametrize(
    "order",
    [
        pytest.param([ARRIVAL, STORE, SYNC_BEGINS, ANSWER, SYNC_ENDS], id="answered while it is synced"),
        pytest.param([ARRIVAL, STORE, ANSWER, SYNC_BEGINS, SYNC_ENDS], id="answered before"),
        pytest.param([ARRIVAL, SYNC_BEGINS, SYNC_ENDS, STORE, ANSWER], id="another sync"),
        pytest.param([STORE, ARRIVAL, SYNC_BEGINS, SYNC_ENDS, ANSWER], id="another record"),
        pytest.param(
            [ARRIVAL, STORE, SYNC_BEGINS.replace("data.db", "keys.db"), SYNC_ENDS, ANSWER], id="another file"
        ),
        pytest.param([ARRIVAL, SYNC_BEGINS, SYNC_ENDS, ANSWER], id="not stored"),
        pytest.param([ARRIVAL, STORE, ANSWER], id="not synced"),
    ],
)
def test_a_trace_out_of_order_is_found(order: list[str]) -> None:
    assert not synced_before_answer(calls_of(order), "req_1", "..record..")
