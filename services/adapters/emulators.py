"""Google's own emulators of Firestore and Pub/Sub, each a process of its own."""

import importlib.metadata
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from events.words import Unavailable

JAVA = ("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.language=en")
START_S = 60.0
END_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """An emulator: the `gcloud` component it comes in, its jar within it, the options of its Java, and
    the Python package whose client speaks to it.
    """

    component: str
    jar: str
    memory: str
    run: tuple[str, ...]
    package: str


FIRESTORE = Kind(
    component="cloud-firestore-emulator",
    jar="cloud-firestore-emulator.jar",
    memory="-Xmx384m",
    run=("-cp", "{jar}", "com.google.cloud.datastore.emulator.firestore.CloudFirestore", "start"),
    package="google-cloud-firestore",
)
PUBSUB = Kind(
    component="pubsub-emulator",
    jar="lib/cloud-pubsub-emulator-*-all.jar",
    memory="-Xmx256m",
    run=("-jar", "{jar}"),
    package="google-cloud-pubsub",
)


class Emulator:
    """A running emulator, listening at `address` (host:port)."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self._process = process
        self.address = address
        self.port = int(address.rpartition(":")[2])
        self.pid = process.pid

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It keeps its connections and answers nothing, until the block ends."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """The process is no more."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)  # a paused process cannot end
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def missing(kind: Kind) -> str | None:
    """What this machine lacks to run it, and how to get that; None where nothing."""
    if shutil.which("java") is None:
        return "java is missing here; apt install openjdk-17-jre-headless"
    if _jar(kind) is None:
        package = f"google-cloud-cli-{kind.component.removeprefix('cloud-')}"
        return f"the {kind.component} is missing here; apt install {package} (Google's repository)"
    try:
        importlib.metadata.distribution(kind.package)
    except importlib.metadata.PackageNotFoundError:
        return f"{kind.package} is missing here; pip install --require-hashes -r infra/locks/all.txt"
    return None


def start(kind: Kind) -> Emulator:
    """Starts one and waits until it listens; whoever calls has to end it."""
    told = ""
    for _ in range(3):  # another process may have taken the port meanwhile
        port = free_port()
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(  # noqa: S603  (a program of Google, found where gcloud is)
                _command(kind, port), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
            emulator = Emulator(process, f"127.0.0.1:{port}")
            if _listens(process, port):
                return emulator
            emulator.end()
            log.seek(0)
            told = log.read().decode(errors="replace")[-2000:]
    raise Unavailable(f"The {kind.component} did not start:\n{told}")


def _command(kind: Kind, port: int) -> Sequence[str]:
    run = [part.format(jar=_jar(kind)) for part in kind.run]
    return [*JAVA, kind.memory, *run, "--host=127.0.0.1", f"--port={port}"]


def _jar(kind: Kind) -> Path | None:
    # `gcloud info` tells it as well, and takes seconds.
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return None
    platform = Path(os.path.realpath(gcloud)).parents[1] / "platform"
    return next(iter(sorted((platform / kind.component).glob(kind.jar))), None)


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False
