"""How many connections the system lets this process hold: each costs file descriptors."""

import contextlib
import os
import sys

FILES = 128  # stores, logs, libraries, listeners
EACH = 3  # a client's connection, one to its engine, and that engine's end where it runs in this process
MOST_ANYWHERE = 10_240  # macOS calls its limit infinite, and takes no more than this


def most_connections(wanted: int) -> int:
    """How many connections may be held: as many as `wanted` where the system allows it."""
    allowed = raise_limit()
    return wanted if allowed is None else max(1, min(wanted, (allowed - FILES) // EACH))


def raise_limit() -> int | None:
    """Raises the limit on open files as far as this process may; returns it, or None where there is none."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415  (not on Windows)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, max(soft, MOST_ANYWHERE)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            break
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def exhausted() -> bool:
    """Whether no file could be opened and no connection accepted now."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return True
    return False
