"""A line for every finished request: for Cloud Logging in JSON, for people as text; written by a thread."""

import asyncio
import logging
import re
import sys
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import BinaryIO, Protocol

import msgspec

GATHERS_S = 0.1
MOST_WAITING = 20_000  # lines; beyond that somebody has stopped reading, and memory is worth more
LONGEST = 256  # of what a client says of itself
CLOSES_WITHIN_S = 2.0
SECRETS = re.compile(r"(psk|pak)_\w*")  # a key has no business in a path, but people paste

log = logging.getLogger("penstock.access")


class Finished(msgspec.Struct, kw_only=True, gc=False):
    """A request that is over. Nothing of its content: no prompt, no answer, no key. Times in seconds,
    `at_ns` since the epoch; `method`, `path` and `agent` as they came.
    """

    at_ns: int
    took_s: float
    method: bytes = b""
    path: bytes = b""
    agent: bytes = b""
    status: int = 0
    outcome: str = ""
    request: str = ""
    trace: str = ""
    span: str = ""
    sampled: bool = False
    tenant: str = ""
    key: str = ""
    user: str = ""
    asked: str = ""
    model: str = ""
    backend: str = ""
    cache: str = ""
    stream: bool | None = None
    attempts: int = 0
    first_s: float | None = None
    input: int | None = None
    output: int | None = None

    def line(self) -> "Finished":
        """See `Over`."""
        return self


class Over(Protocol):
    """A request that is over; its line is made later, and nothing about it changes until then."""

    def line(self) -> Finished:
        """What is to be written. Called by the thread that writes."""


class HttpRequest(msgspec.Struct, rename="camel", omit_defaults=True):
    """Cloud Logging's `httpRequest`, a `LogEntry.HttpRequest`."""

    request_method: str
    request_url: str
    latency: str
    status: int = 0
    user_agent: str = ""


class Line(
    msgspec.Struct,
    kw_only=True,
    omit_defaults=True,
    rename={
        "trace": "logging.googleapis.com/trace",
        "span": "logging.googleapis.com/spanId",
        "sampled": "logging.googleapis.com/trace_sampled",
        "http": "httpRequest",
    },
):
    """A line, by the names Cloud Logging reads: https://cloud.google.com/logging/docs/structured-logging"""

    severity: str
    message: str
    timestamp: dict[str, int]
    trace: str = ""
    span: str = ""
    sampled: bool = False
    http: HttpRequest | None = None
    request_id: str = ""
    tenant: str = ""
    key_id: str = ""
    user: str = ""
    task_type: str = ""
    model: str = ""
    backend: str = ""
    cache: str = ""
    stream: bool | None = None
    attempts: int = 0
    outcome: str = ""
    duration_ms: float = 0.0
    first_byte_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    tokens_per_second: float | None = None


Form = Callable[[Finished], bytes]


def as_json(project: str = "") -> Form:
    """Lines for Cloud Logging; with a project its traces are linked."""
    prefix = f"projects/{project}/traces/" if project else ""
    encode = msgspec.json.Encoder().encode

    def line(done: Finished) -> bytes:
        return encode(_line(done, prefix)) + b"\n"

    return line


def _line(done: Finished, prefix: str) -> Line:
    task = done.asked.removeprefix("task:")
    return Line(
        severity=_severity(done),
        message=_message(done),
        timestamp={"seconds": done.at_ns // 10**9, "nanos": done.at_ns % 10**9},
        trace=prefix + done.trace if done.trace else "",
        span=done.span,
        sampled=done.sampled,
        http=_http(done) if done.method else None,
        request_id=done.request,
        tenant=done.tenant,
        key_id=done.key,
        user=done.user,
        task_type=task if task != done.asked else "",
        model=done.model or (done.asked if task == done.asked else ""),
        backend=done.backend,
        cache=done.cache,
        stream=done.stream,
        attempts=done.attempts,
        outcome=done.outcome,
        duration_ms=round(done.took_s * 1000, 3),
        first_byte_ms=None if done.first_s is None else round(done.first_s * 1000, 3),
        input_tokens=done.input,
        output_tokens=done.output,
        tokens_per_second=_pace(done),
    )


def _http(done: Finished) -> HttpRequest:
    return HttpRequest(
        request_method=done.method.decode("latin-1"),
        request_url=_clean(done.path),
        latency=f"{done.took_s:.6f}s",
        status=done.status,
        user_agent=_clean(done.agent),
    )


def _clean(said: bytes) -> str:
    """What a client said of itself, short and without what looks like a key of ours."""
    return SECRETS.sub(r"\1_***", said[:LONGEST].decode("latin-1"))


def _severity(done: Finished) -> str:
    if done.status >= 500 or done.outcome in ("engine_error", "engine_died", "deadline"):
        return "ERROR"
    return "WARNING" if done.status >= 400 else "INFO"


def _message(done: Finished) -> str:
    if not done.method:
        return f"queued request {done.outcome}"
    status = done.status or done.outcome
    return f"{done.method.decode('latin-1')} {_clean(done.path)} {status}"


def _pace(done: Finished) -> float | None:
    """Output tokens a second, behind the first one of a stream."""
    if done.first_s is None or not done.stream or (done.output or 0) < 2 or done.took_s <= done.first_s:
        return None
    return round(((done.output or 0) - 1) / (done.took_s - done.first_s), 2)


def as_text(done: Finished) -> bytes:
    """A line for people."""
    tokens = f" {done.input}+{done.output} tokens" if done.output is not None else ""
    parts = (_message(done), f"{done.took_s:.3f} s", done.model or done.asked, done.request)
    return f"{' '.join(filter(None, parts))}{tokens}\n".encode()


class AccessLog:
    """Lines of this process. `add` costs the loop next to nothing: a thread makes the text and writes it."""

    def __init__(self, form: Form, out: BinaryIO | None = None) -> None:
        self.dropped = 0
        self._form = form
        self._out = out or sys.stderr.buffer
        self._gathered: list[Over] = []
        self._added = self._written = 0
        self._batches: SimpleQueue[list[Over] | None] = SimpleQueue()
        self._thread = Thread(target=self._write, name="access log", daemon=True)
        self._thread.start()

    def add(self, done: Over) -> None:
        """Takes a line; where too many wait already it is dropped, and counted."""
        if self._added - self._written >= MOST_WAITING:
            self.dropped += 1
            return
        if not self._gathered:
            asyncio.get_running_loop().call_later(GATHERS_S, self._hand_over)
        self._gathered.append(done)
        self._added += 1

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._batches.put(gathered)

    def _write(self) -> None:
        while self._written_out(self._batches.get()):
            pass  # nothing here holds what was written

    def _written_out(self, batch: list[Over] | None) -> bool:
        """Writes a batch; False where it is the end."""
        if batch is None:
            return False
        try:
            self._out.write(b"".join([self._form(done.line()) for done in batch]))
            self._out.flush()
        except Exception:  # noqa: BLE001  (nobody reads any more; there is no place to say so)
            self.dropped += len(batch)
        self._written += len(batch)
        return True

    async def close(self) -> None:
        """Writes what is left, if somebody still reads."""
        self._hand_over()
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join, CLOSES_WITHIN_S)
