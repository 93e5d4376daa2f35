"""End users in log lines: only as a hash under their tenant's erasable key."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from events.words import PenstockError

PURPOSE = "log-user"
KNOWN_FOR_S = 600.0  # an erased key is forgotten within that
MARK = b'"user":'
SIZE = 8  # bytes

log = logging.getLogger("penstock.access")


class Secrets(Protocol):
    """What only a tenant's key leads to."""

    async def secret(self, tenant: str, purpose: str) -> bytes:
        """The secret."""


class _Body(msgspec.Struct):
    user: str = ""


_body = msgspec.json.Decoder(_Body)


class Users:
    """Hashes the `user` of bodies. The first calls of a tenant go without, until its secret is here."""

    def __init__(self, secrets: Secrets, clock: Callable[[], float] = time.monotonic) -> None:
        self._secrets = secrets
        self._clock = clock
        self._known: dict[str, tuple[float, bytes]] = {}
        self._fetching: dict[str, asyncio.Task[None]] = {}

    def hashed(self, tenant: str, body: bytes) -> str:
        """16 hex digits, the same for the same user; "" where none is named, or it cannot be told."""
        if MARK not in body:
            return ""
        try:
            user = _body.decode(body).user
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        secret = self._secret(tenant) if user else None
        if secret is None:
            return ""
        return hashlib.blake2b(user.encode(), key=secret, digest_size=SIZE).hexdigest()

    def _secret(self, tenant: str) -> bytes | None:
        at, secret = self._known.get(tenant, (0.0, b""))
        if secret and self._clock() - at < KNOWN_FOR_S:
            return secret
        self._known.pop(tenant, None)
        if tenant not in self._fetching:
            task = asyncio.get_running_loop().create_task(self._fetch(tenant))
            self._fetching[tenant] = task
        return None

    async def _fetch(self, tenant: str) -> None:
        try:
            secret = await self._secrets.secret(tenant, PURPOSE)
            self._known[tenant] = self._clock(), hashlib.sha256(secret).digest()
        except PenstockError as error:
            log.info("users of %s go unnamed: %s", tenant, error)
        finally:
            del self._fetching[tenant]
