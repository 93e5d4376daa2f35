"""A real Ollama on loopback with two tiny models, in processes that end with it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from tests.ollama.build import build
from tests.ollama.tiny_model import write

BRIEF, ENDLESS = "brief", "endless"
CONTEXT = {BRIEF: 1024, ENDLESS: 32_768}  # tokens; without a limit an answer ends at ten times as many
PATIENCE_S = 30.0  # on a busy machine
PARENT, USER_TICKS, SYSTEM_TICKS = 1, 11, 12  # where /proc/PID/stat has them, counted from behind the name

# Narrow, so that a few callers fill it: one answer at a time, one model loaded, two requests that wait.
NARROW = {"OLLAMA_NUM_PARALLEL": "1", "OLLAMA_MAX_LOADED_MODELS": "1", "OLLAMA_MAX_QUEUE": "2"}

# One thread: more would wait for each other by spinning, which is slow where others need the processors.
MODELFILE = '''FROM {path}
PARAMETER num_ctx {context}
PARAMETER num_thread 1
TEMPLATE """{{{{ range .Messages }}}}{{{{ .Role }}}}: {{{{ .Content }}}}
{{{{ end }}}}assistant:"""
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Ollama:
    """One that serves."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What it has logged; a line starting with [GIN] for every call that is over."""
        return (self.folder / "serve.log").read_text(errors="replace")

    def runners(self) -> dict[int, int]:
        """The processes that hold its models, and how much each has computed, in ticks of the processor."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has just ended
                facts = path.read_text(errors="replace").rpartition(")")[2].split()
                if int(facts[PARENT]) == self.process.pid:
                    found[int(path.parent.name)] = int(facts[USER_TICKS]) + int(facts[SYSTEM_TICKS])
        return found

    def kill_runners(self) -> None:
        """What happens to them where memory runs out."""
        for pid in self.runners():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def models(self) -> list[str]:
        """By name, as its OpenAI-compatible endpoint lists them."""
        return sorted(row["id"] for row in json.loads(_get(f"{self.url}/v1/models"))["data"])


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[Ollama]:
    """Serves on a port, or on one that is free, with both models made."""
    program = build()
    port = port or _free_port()
    mine = {"OLLAMA_HOST": f"127.0.0.1:{port}", "OLLAMA_MODELS": str(folder / "models"), "HOME": str(folder)}
    others = {name: value for name, value in os.environ.items() if not name.startswith("OLLAMA_")}
    environment = others | NARROW | mine | {"OLLAMA_KEEP_ALIVE": "1h"}
    with (folder / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            [program, "serve"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    ollama = Ollama(url=f"http://127.0.0.1:{port}", folder=folder, process=process)
    try:
        _wait_until_it_answers(ollama)
        for model in (BRIEF, ENDLESS):
            _make(model, program, folder, environment)
        yield ollama
    finally:
        _end(ollama)


def _make(model: str, program: Path, folder: Path, environment: dict[str, str]) -> None:
    path, modelfile = folder / f"{model}.gguf", folder / f"{model}.modelfile"
    write(path, endless=model == ENDLESS)
    modelfile.write_text(MODELFILE.format(path=path, context=CONTEXT[model]))
    make = [program, "create", model, "-f", modelfile]
    subprocess.run(make, env=environment, capture_output=True, timeout=PATIENCE_S, check=True)


def _wait_until_it_answers(ollama: Ollama) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            _get(f"{ollama.url}/api/version")
            return
        except OSError as error:
            if ollama.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Ollama does not serve. Its log:\n{ollama.log}") from error
            time.sleep(0.05)


def _end(ollama: Ollama) -> None:
    """Ends it and its runners, which it ends itself unless it has to be killed."""
    runners = ollama.runners()
    ollama.process.terminate()
    try:
        ollama.process.wait(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        ollama.process.kill()
        ollama.process.wait()
        for pid in runners:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _get(url: str) -> bytes:
    with urlopen(url, timeout=PATIENCE_S) as answer:
        content: bytes = answer.read()
        return content


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
