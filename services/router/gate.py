"""Who is asking: the API key of a call, or the refusal it gets."""

import hmac
from collections.abc import Callable
from datetime import datetime

from events.words import ApiKey, Problem, Refusal
from services.router.credentials import ADMIN_PREFIX, digest, well_formed
from services.router.keyring import KeyRing, usable

BEARER = b"bearer "


def token_of(authorization: bytes) -> str:
    """The bearer token of an authorization header, or ""."""
    if authorization[:7].lower() != BEARER:
        return ""
    return authorization[7:].strip().decode("latin-1")


def refuse_key(token: str, key: ApiKey | None, now: datetime) -> Refusal:
    """Why a key is not accepted, in words that say what to do."""
    if not token:
        message = "No API key was given. Send it as the header: Authorization: Bearer YOUR_KEY."
    elif token.startswith(ADMIN_PREFIX):
        message = "This is an admin key; it does not work on /v1. Use an API key (penstock keys create)."
    elif key is None:
        known = well_formed(token)
        why = "is not known here" if known else "is mistyped or no Penstock key at all"
        message = f"The API key {why}. Check it, or make one with: penstock keys create."
    elif key.revoked_at is not None and key.revoked_at <= now:
        message = f"The API key {key.id} was revoked."
    else:
        message = f"The API key {key.id} has expired."
    return Refusal(status=401, problem=Problem(message=message, code="invalid_api_key"))


class Gate:
    """Authenticates callers of the public API."""

    def __init__(self, ring: KeyRing, now: Callable[[], datetime]) -> None:
        self.ring = ring
        self.now = now

    def judge(self, token: str, key: ApiKey | None) -> ApiKey | Refusal:
        """The key if it may act now, else the refusal."""
        if key is not None and usable(key, self.now):
            return key
        return refuse_key(token, key, self.now())

    async def enter(self, authorization: bytes) -> ApiKey | Refusal:
        """The verdict on a caller, reading the store if need be. Raises `Unavailable`."""
        token = token_of(authorization)
        return self.judge(token, await self.ring.fetch(token) if token else None)


class AdminGate:
    """Authenticates operators by the one admin key, of which only the digest is kept here."""

    def __init__(self, key_hash: str) -> None:
        self._hash = key_hash.encode()

    def admits(self, authorization: bytes) -> bool:
        """Whether the caller holds the admin key; takes the same time for every wrong one."""
        return hmac.compare_digest(digest(token_of(authorization)).encode(), self._hash)
