"""Google's own emulators, each a process of its own: started at first use, ended with the tests.

Every worker of a parallel run starts its own. Tests keep apart by a fresh project id each.
"""

import atexit
import uuid
from functools import cache

import pytest

from services.adapters.emulators import FIRESTORE, PUBSUB, Emulator, Kind, missing, start

__all__ = [
    "FIRESTORE",
    "PUBSUB",
    "Emulator",
    "Kind",
    "firestore",
    "fresh_project",
    "missing",
    "pubsub",
    "start",
]


def firestore() -> Emulator:
    """The Firestore emulator of this process; skips the test where it cannot run."""
    return _running(FIRESTORE)


def pubsub() -> Emulator:
    """The Pub/Sub emulator of this process; skips the test where it cannot run."""
    return _running(PUBSUB)


def fresh_project() -> str:
    """A project id nobody has used: what lies in it, its test has put there."""
    return f"test-{uuid.uuid4().hex[:12]}"


def _running(kind: Kind) -> Emulator:
    lacking = missing(kind)
    if lacking is not None:
        pytest.skip(lacking)
    return _shared(kind)


@cache
def _shared(kind: Kind) -> Emulator:
    emulator = start(kind)
    atexit.register(emulator.end)
    return emulator
