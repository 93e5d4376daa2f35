"""What the benchmark asks of Linux: tools, processes kept to one processor, and what those use."""

import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from tests.bench.results import Cpu, Header

ROOT = Path(__file__).parents[3]
TOOLS = {"wrk": "wrk", "nginx": "nginx-light", "taskset": "util-linux"}  # and the package of each
SYNC_BYTES = 20_000
SYNCS = 100
STOP_S = 12.0


class Missing(Exception):
    """What this machine lacks, and how to get it."""


def check_machine(niceness: int) -> None:
    """Raises `Missing` where the benchmark cannot run here."""
    if platform.system() != "Linux":
        raise Missing("The benchmark runs on Linux only: it keeps processes to processors and reads /proc.")
    if len(os.sched_getaffinity(0)) < 2:
        raise Missing("The benchmark needs two processors: one for the gateway, one for load and upstreams.")
    if niceness < 0 and os.geteuid() != 0:
        raise Missing("A niceness below 0 is for root only.")
    missing = [package for name, package in TOOLS.items() if not find(name)]
    if missing:
        raise Missing(f"These programs are missing here; get them with: apt install {' '.join(missing)}")


def find(name: str) -> str | None:
    """Where a program is; nginx is often outside an ordinary user's PATH."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))


def tool(name: str) -> str:
    """Where one of the `TOOLS` is."""
    found = find(name)
    if found is None:
        raise Missing(f"{name} is missing here; get it with: apt install {TOOLS[name]}")
    return found


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def header(folder: Path) -> Header:
    """Where and when this run takes place."""
    return Header(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        processor=_processor(),
        cores=os.cpu_count() or 0,
        system=platform.release(),
        sync_ms=_sync_ms(folder),
        load_before=round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _sync_ms(folder: Path) -> float:
    """How long it takes to write a page of usage records and have it on the disk."""
    path = folder / "sync"
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(bytes(SYNC_BYTES))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    path.unlink()
    return round(median(took) * 1000, 3)


class Lane:
    """A processor, and the niceness of what runs on it; below 0 needs root."""

    def __init__(self, processor: int, niceness: int) -> None:
        self._prefix = (tool("taskset"), "-c", str(processor), "nice", "-n", str(niceness))
        self._niceness = niceness

    def start(
        self, command: Sequence[str], output: Path, environment: Mapping[str, str] | None = None
    ) -> "Program":
        """Starts a program; what it prints goes to `output`, its complaints to a file beside it."""
        with output.open("wb") as out, output.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen(
                (*self._prefix, *command),
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._raise(process.pid)
        return Program(process, output)

    def _raise(self, pid: int) -> None:
        """The kernel may weigh whole sessions against each other: this one weighs as much as its process."""
        group = Path(f"/proc/{pid}/autogroup")
        if self._niceness and group.exists():
            group.write_text(str(self._niceness))


def lanes(niceness: int) -> tuple[Lane, Lane]:
    """The gateway's processor, and the one of load and upstreams."""
    first, second, *_ = sorted(os.sched_getaffinity(0))
    return Lane(first, niceness), Lane(second, niceness)


class Failed(Exception):
    """A program did not do what it was started for."""


class Program:
    """A process of its own session, with its children."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.output = output
        self._process = process

    @property
    def ended(self) -> bool:
        """It runs no more."""
        return self._process.poll() is not None

    def result(self, timeout_s: float) -> bytes:
        """What it printed, once it ended well. Raises `Failed`."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            self.stop()
            raise Failed(f"{self.output.stem} did not end within {timeout_s:g} s.") from error
        if code:
            raise Failed(f"{self.output.stem} ended with {code}: {self.complaint()}")
        return self.output.read_bytes()

    def complaint(self) -> str:
        """The end of what it said on its standard error."""
        return self.output.with_suffix(".err").read_text(errors="replace")[-800:].strip()

    def stop(self) -> None:
        """Ends it, kindly first."""
        for kind in (signal.SIGTERM, signal.SIGKILL):
            if self.ended:
                return
            os.killpg(self._process.pid, kind)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                continue

    def rss_mb(self) -> float:
        """Resident memory of all its processes."""
        return sum(map(_rss_kb, _tree(self._process.pid))) / 1024

    def threads(self) -> dict[int, int]:
        """Processor time of each of its threads so far, in nanoseconds."""
        return {thread: spent for pid in _tree(self._process.pid) for thread, spent in _threads(pid)}

    def used_since(self, before: Mapping[int, int]) -> Cpu:
        """What was used since `threads` told `before`."""
        spent = {thread: now - before.get(thread, 0) for thread, now in self.threads().items()}
        total = sum(spent.values())
        main = spent.pop(self._process.pid, 0)
        return Cpu(total_ms=total / 1e6, main_ms=main / 1e6, writer_ms=max(spent.values(), default=0) / 1e6)


def _tree(root: int) -> Iterator[int]:
    yield root
    for children in Path(f"/proc/{root}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _tree(int(child))


def _threads(pid: int) -> Iterator[tuple[int, int]]:
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        yield int(path.parent.name), int(path.read_text().split()[0])


def _rss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)
