"""What calls with an idempotency key need of the world."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from functions.request.idempotency import KeyedCall, Stored
from services.front.limits import Budget
from services.router.metrics import Metrics


class KeyedCalls(Protocol):
    """Where calls are kept by the hash of their key."""

    async def create(self, call: KeyedCall) -> Stored:
        """Stores a new call; where the id is taken, the stored one is returned unchanged."""

    async def get(self, call_id: str) -> Stored | None:
        """A call and its version."""

    async def replace(self, call: KeyedCall, version: int) -> int:
        """Writes it if it still has `version`, and returns the new one; else raises `Conflict`."""

    async def delete(self, call_id: str, version: int) -> None:
        """Forgets it if it still has `version`."""


class Bodies(Protocol):
    """Where sealed bodies are kept."""

    async def put(self, body_id: str, sealed: bytes, expire_at: datetime) -> None:
        """Stores a body."""

    async def get(self, body_id: str) -> bytes | None:
        """A body, if it is still kept."""


class Sealer(Protocol):
    """Seals under the tenant's key."""

    async def seal(self, tenant: str, kind: str, body_id: str, clear: bytes) -> bytes:
        """The sealed form."""

    async def open(self, tenant: str, kind: str, body_id: str, sealed: bytes) -> bytes:
        """The clear form."""

    async def secret(self, tenant: str, purpose: str) -> bytes:
        """What only the tenant's key leads to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long things take, in seconds. `keep_s`: a result is told again for so long. A running call is
    renewed every `heartbeat_s` and is thought dead after `lease_s`, and `skew_s` more for clocks that differ.
    A retry waits `here_s` for a call of this process, `elsewhere_s` for one of another, and looks for that
    every `look_s` at first. A stream that waits is kept alive every `alive_after_s`. A result that could not
    be stored is stored again after `store_again_s`.
    """

    keep_s: float = 86_400.0
    lease_s: float = 30.0
    heartbeat_s: float = 10.0
    skew_s: float = 2.0
    here_s: float = 900.0
    elsewhere_s: float = 20.0
    look_s: float = 0.2
    alive_after_s: float = 10.0
    store_again_s: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All of it. `owner` names this process; `alone`: no other one works on these stores."""

    calls: KeyedCalls
    bodies: Bodies
    sealer: Sealer
    budget: Budget
    metrics: Metrics
    now: Callable[[], datetime]
    owner: str
    patience: Patience = Patience()
    alone: bool = False
    clock: Callable[[], float] = time.monotonic
