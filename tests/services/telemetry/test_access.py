"""The access log: what a line says, to whom, and what it never says."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.telemetry import access
from services.telemetry.access import AccessLog, Finished, as_json, as_text
from services.telemetry.users import Users
from tests.support.client import PATIENCE_S

pytestmark = pytest.mark.anyio

DONE = Finished(
    at_ns=1_700_000_000_000_000_123,
    took_s=1.5,
    method=b"POST",
    path=b"/v1/chat/completions",
    agent=b"OpenAI/Python 2.0",
    status=200,
    outcome="finished",
    request="req_1",
    trace="0af7651916cd43dd8448eb211c80319c",
    span="b7ad6b7169203331",
    sampled=True,
    tenant="acme",
    key="key_1",
    user="d2f0",
    asked="task:code",
    model="gemma",
    backend="pool",
    stream=True,
    attempts=1,
    first_s=0.5,
    input=7,
    output=11,
)


def told(done: Finished, project: str = "") -> Any:
    return json.loads(as_json(project)(done))


def test_a_line_is_what_cloud_logging_understands() -> None:
    line = told(DONE, "acme-prod")

    assert "INFO" == line["severity"]
    assert "POST /v1/chat/completions 200" == line["message"]
    assert {"seconds": 1_700_000_000, "nanos": 123} == line["timestamp"]
    trace = "projects/acme-prod/traces/0af7651916cd43dd8448eb211c80319c"
    assert (trace, "b7ad6b7169203331", True) == tuple(
        line[f"logging.googleapis.com/{name}"] for name in ("trace", "spanId", "trace_sampled")
    )
    assert {
        "requestMethod": "POST",
        "requestUrl": "/v1/chat/completions",
        "status": 200,
        "latency": "1.500000s",
        "userAgent": "OpenAI/Python 2.0",
    } == line["httpRequest"]


def test_a_line_tells_request_tenant_model_tokens_and_pace() -> None:
    said = {
        "request_id": "req_1",
        "tenant": "acme",
        "key_id": "key_1",
        "user": "d2f0",
        "task_type": "code",
        "model": "gemma",
        "backend": "pool",
        "outcome": "finished",
        "duration_ms": 1500.0,
        "first_byte_ms": 500.0,
        "input_tokens": 7,
        "output_tokens": 11,
        "tokens_per_second": 10.0,
    }

    assert said.items() <= told(DONE).items()


@pytest.mark.parametrize(
    ("status", "outcome", "severity"),
    [(200, "finished", "INFO"), (404, "model_not_found", "WARNING"), (503, "overloaded", "ERROR"),
     (200, "engine_died", "ERROR"), (499, "client_gone", "WARNING"), (0, "finished", "INFO")],
)  # fmt: skip
def test_severity_follows_from_what_became_of_it(status: int, outcome: str, severity: str) -> None:
    assert severity == told(Finished(at_ns=0, took_s=0.0, status=status, outcome=outcome))["severity"]


def test_what_is_not_known_is_left_out() -> None:
    line = told(Finished(at_ns=0, took_s=0.1, outcome="finished", model="gemma"))

    assert {"severity", "message", "timestamp", "model", "outcome", "duration_ms"} == line.keys()


def test_what_a_client_says_of_itself_is_short_and_holds_no_key() -> None:
    path = b"/v1/psk_abc123" + b"x" * 9999
    line = told(Finished(at_ns=0, took_s=0.0, method=b"GET", path=path, agent=b"\xff"))

    assert "psk_***" == line["httpRequest"]["requestUrl"].removeprefix("/v1/")
    assert "abc123" not in json.dumps(line)


def test_people_get_a_line_of_text() -> None:
    assert b"POST /v1/chat/completions 200 1.500 s gemma req_1 7+11 tokens\n" == as_text(DONE)


class Reader(io.BytesIO):
    """Somebody who reads the lines, or does not."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    def write(self, data: Any) -> int:
        if self.broken:
            raise BrokenPipeError
        return super().write(data)


@asynccontextmanager
async def logged(reader: Reader) -> AsyncIterator[AccessLog]:
    made = AccessLog(as_text, reader)
    yield made
    await made.close()


async def test_lines_are_written_in_their_order_and_none_is_left_at_the_end() -> None:
    reader = Reader()
    async with logged(reader) as lines:
        for number in range(300):
            lines.add(Finished(at_ns=0, took_s=0.0, method=b"GET", path=b"/%d" % number, status=200))
    paths = [line.split()[1] for line in reader.getvalue().splitlines()]

    assert [b"/%d" % number for number in range(300)] == paths


async def test_a_line_comes_soon_without_another() -> None:
    reader = Reader()
    async with logged(reader) as lines:
        lines.add(DONE)
        async with asyncio.timeout(PATIENCE_S):
            while not reader.getvalue():
                await asyncio.sleep(0.01)


async def test_where_nobody_reads_lines_are_dropped_and_counted() -> None:
    reader = Reader()
    reader.broken = True
    async with logged(reader) as lines:
        for _ in range(access.MOST_WAITING + 5):
            lines.add(DONE)

    assert access.MOST_WAITING + 5 == lines.dropped


class Secrets:
    """Tenants' secrets, one after another where the key was erased."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def secret(self, tenant: str, purpose: str) -> bytes:
        self.asked.append(tenant)
        return f"{tenant}-{purpose}-{len(self.asked)}".encode()


async def test_a_user_is_told_as_a_hash_of_its_tenant() -> None:
    users, body = Users(Secrets()), b'{"model": "m", "user": "ann@example.org"}'
    first = [users.hashed(tenant, body) for tenant in ("acme", "other")]
    await asyncio.sleep(0)
    acme, other = users.hashed("acme", body), users.hashed("other", body)

    assert ["", ""] == first  # nobody waits for a secret
    assert 16 == len(acme) and acme != other
    assert acme == users.hashed("acme", b'{"user": "ann@example.org"}')
    assert "ann" not in acme


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"user": 5}', b'{"user": ""}', b'{"user":', b'{"text": "\\"user\\":"}', b'{"user": "\xff"}'],
)
async def test_where_no_user_is_named_none_is_told(body: bytes) -> None:
    users = Users(Secrets())
    users.hashed("acme", b'{"user": "x"}')
    await asyncio.sleep(0)

    assert "" == users.hashed("acme", body)


async def test_a_secret_is_asked_for_again_so_that_an_erased_key_is_forgotten() -> None:
    secrets, clock = Secrets(), [0.0]
    users, body = Users(secrets, clock=lambda: clock[0]), b'{"user": "ann"}'
    users.hashed("acme", body)
    await asyncio.sleep(0)
    before = users.hashed("acme", body)
    clock[0] = 601.0
    users.hashed("acme", body)
    await asyncio.sleep(0)

    assert before != users.hashed("acme", body) != ""
    assert ["acme", "acme"] == secrets.asked
