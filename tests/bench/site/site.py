"""Where a run takes place: its folder, its two processors, and the upstreams behind every gateway."""

import http.client
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from tests.bench.results import Ready
from tests.bench.site.machine import Failed, Lane, Program, free_port, lanes, tool

PROGRAMS = Path(__file__).parents[1] / "programs"
KEY = "sk-bench-1234"  # of gateways that make none themselves
FIXED = "fixed"  # the model that answers at once, in one piece
STREAMS = ("stream-16x2", "stream-64x10", "stream-128x5")  # chunks, and milliseconds between them
MANY = "stream-100x20"  # the same, for very many at once
INPUT_TOKENS = 231  # what both upstreams say a prompt has
FIXED_OUTPUT_TOKENS = 87
WAIT_S = 60.0

MESSAGES = (
    (
        "system",
        "You are a careful assistant who answers questions on machine learning systems. Keep answers short, "
        "state assumptions, and never invent citations.",
    ),
    (
        "user",
        "We serve a 7B model on a small pool of accelerators and see a long tail in time to first token "
        "whenever somebody sends a long prompt. What usually causes it?",
    ),
    (
        "assistant",
        "A long prefill occupies the accelerator for one whole step, so decode steps of the other sequences "
        "wait behind it. Chunked prefill splits the prompt into pieces that are scheduled together with "
        "decode steps.",
    ),
    (
        "user",
        "And how do continuous batching and paged attention fit in? Explain in one paragraph for an engineer "
        "who knows web servers but not inference engines, and mention what each one buys us in throughput "
        "and latency.",
    ),
)


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The command of one of our programs."""
    return (sys.executable, "-m", f"tests.bench.programs.{module}", *arguments)


def fill_in(template: str, into: Path, **values: object) -> Path:
    """Writes a template of `programs/` with its names in angle brackets replaced."""
    text = (PROGRAMS / template).read_text()
    path = into / template
    path.write_text(re.sub(r"<(\w+)>", lambda name: str(values[name[1]]), text))
    return path


class Site:
    """A folder, two processors, and the upstreams; `stack` ends what is started."""

    def __init__(self, folder: Path, niceness: int, stack: ExitStack) -> None:
        self.folder = folder
        self.fixed_port = free_port()
        self.stream_port = free_port()
        self.gateway_lane, self.load_lane = lanes(niceness)
        self._stack = stack
        self._cloud: Ready | None = None
        self._write_bodies()
        self._start_upstreams()

    def body(self, model: str) -> Path:
        """The file with the body that asks a model."""
        return self.folder / f"{model}.json"

    def body_of(self, size: int) -> Path:
        """A file with a body of about so many bytes that asks for a whole answer."""
        path = self.folder / f"{FIXED}-{size}.json"
        path.write_bytes(chat_body(FIXED, "word " * max(0, (size - len(chat_body(FIXED))) // 5)))
        return path

    def events_sent(self) -> int:
        """How many events of streams the upstream has written so far."""
        return int(get(self.stream_port, "/sent"))

    def port_of(self, model: str) -> int:
        """The upstream that has a model."""
        return self.fixed_port if model == FIXED else self.stream_port

    def _write_bodies(self) -> None:
        for model in (FIXED, *STREAMS, MANY):
            self.body(model).write_bytes(chat_body(model))

    def _start_upstreams(self) -> None:
        config = fill_in("nginx_upstream.conf", self.folder, folder=self.folder, fixed_port=self.fixed_port)
        nginx = (tool("nginx"), "-c", str(config), "-p", str(self.folder))
        self._start(self.load_lane, nginx, "upstream-fixed", self.fixed_port)
        streaming = python("upstream", str(self.stream_port))
        self._start(self.load_lane, streaming, "upstream-stream", self.stream_port)

    def cloud(self, config: Path) -> Ready:
        """What stands for Google Cloud, with this configuration document; the same for all who ask."""
        if self._cloud is None:
            program = self._started(self.load_lane, python("cloud", str(config)), "cloud")
            _wait(program, lambda: program.output.read_bytes().endswith(b"\n"))
            self._cloud = msgspec.json.decode(program.output.read_bytes(), type=Ready)
        return self._cloud

    def _start(self, lane: Lane, command: tuple[str, ...], name: str, port: int) -> None:
        _wait(self._started(lane, command, name), lambda: answers(port))

    def _started(self, lane: Lane, command: tuple[str, ...], name: str) -> Program:
        program = lane.start(command, self.folder / f"{name}.out")
        self._stack.callback(program.stop)
        return program


def _wait(program: Program, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not ready():
        if program.ended or time.monotonic() > deadline:
            raise Failed(f"{program.output.stem} did not start: {program.complaint()}")
        time.sleep(0.02)


def chat_body(model: str, more: str = "") -> bytes:
    """A chat of some 960 bytes, and `more`; a stream is asked to tell its usage."""
    streamed = model != FIXED
    said = (*MESSAGES, ("user", more)) if more else MESSAGES
    body = {
        "model": model,
        "messages": [{"role": role, "content": content} for role, content in said],
        "temperature": 0.7 if streamed else 0,
        "max_tokens": 256,
        "stream": streamed,
        "user": "bench-user-0001",
    }
    return msgspec.json.encode(body | ({"stream_options": {"include_usage": True}} if streamed else {}))


def get(port: int, path: str) -> bytes:
    """The body of what an upstream answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def answers(port: int) -> bool:
    """Somebody answers there."""
    try:
        get(port, "/sent")
    except (OSError, http.client.HTTPException):
        return False
    return True
