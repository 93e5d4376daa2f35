"""Looking at the system calls of a process that knows nothing of it, and disturbing them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

Write = Literal["pwrite64", "fdatasync"]

FOR_EVER_S = 60
SLOW_MS = 100  # longer than a short answer takes
WHOLE_PAGES = 8_192  # bytes shown of what is read or written


def hang(call: Write) -> str:
    """Every such call waits before it does anything: no commit gets through.

    Held at `pwrite64` nothing of it is stored yet, at `fdatasync` all of it is, but nobody knows.
    """
    return f"{call}:delay_enter={FOR_EVER_S}s"


def die(call: Write, *, at: int) -> str:
    """The `at`-th such call (from 1) of one thread kills the process before it does anything."""
    return f"{call}:signal=KILL:when={at}"


def slow(call: Write, *, by_ms: int) -> str:
    """Every such call takes so much longer."""
    return f"{call}:delay_enter={by_ms}ms"


@asynccontextmanager
async def disturbed(pid: int, *injections: str) -> AsyncIterator[None]:
    """A process whose calls are disturbed, those of a name in one way; left in peace at the end, if it still
    lives.
    """
    names = ",".join(injection.partition(":")[0] for injection in injections)
    disturb = [option for injection in injections for option in ("-e", f"inject={injection}")]
    options = ("-e", f"trace={names}", *disturb, "-o", os.devnull)
    # Asked politely to end, strace would first wait for a call that hangs.
    async with _strace(pid, *options, farewell=signal.SIGKILL):
        yield


@asynccontextmanager
async def watched(pid: int, calls: Iterable[str], into: Path) -> AsyncIterator[None]:
    """A process whose calls are written to a file, with all they carry; it is whole at the end.

    Its disk is slow meanwhile, so that who does not wait for it is found out.
    """
    shown = ("-e", f"trace={','.join(calls)}", "-e", "signal=none", "-yy", "-s", f"{WHOLE_PAGES}")
    slowed = ("-e", f"inject=fdatasync:delay_enter={SLOW_MS}ms")
    async with _strace(pid, *shown, *slowed, "-o", str(into), farewell=signal.SIGTERM):
        yield


@asynccontextmanager
async def _strace(pid: int, *options: str, farewell: signal.Signals) -> AsyncIterator[None]:
    """On all threads of a process."""
    strace = await asyncio.create_subprocess_exec(
        "strace", "-f", "-p", str(pid), *options, stderr=asyncio.subprocess.PIPE
    )
    assert strace.stderr is not None
    try:
        said = await strace.stderr.readline()
        assert b"attached" in said, said
        yield
    finally:
        with suppress(ProcessLookupError):  # it ended with the process
            os.kill(strace.pid, farewell)
        await strace.communicate()
