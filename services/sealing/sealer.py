"""AES-256-GCM under per-tenant data keys; a body opens only as what it was sealed for."""

import asyncio
import secrets
from collections import OrderedDict
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from events.words import Invalid

FORMAT = b"\x01"
NONCE_BYTES = 12  # random; good for 2**32 bodies under one key (NIST SP 800-38D, 8.3)
KEY_BYTES = 32
CACHED_TENANTS = 10_000


class MasterKey(Protocol):
    """Wraps data keys; its own key never leaves it."""

    async def wrap(self, tenant: str, data_key: bytes) -> bytes:
        """The wrapped form, bound to the tenant."""

    async def unwrap(self, tenant: str, wrapped: bytes) -> bytes:
        """The data key; raises `Invalid` where it was wrapped for another tenant or by another master key."""


class DataKeys(Protocol):
    """Where wrapped data keys are kept."""

    async def get(self, tenant: str) -> bytes | None:
        """The wrapped key of a tenant."""

    async def create(self, tenant: str, wrapped: bytes) -> bytes:
        """Keeps a tenant's first key and returns the one that is kept; `Conflict` where it was erased."""


class Sealer:
    """Seals and opens bodies. Data keys are unwrapped once and remembered, a bounded number of them."""

    def __init__(self, master: MasterKey, data_keys: DataKeys) -> None:
        self._master = master
        self._data_keys = data_keys
        self._ciphers: OrderedDict[str, AESGCM] = OrderedDict()
        self._loading: dict[str, asyncio.Task[AESGCM]] = {}

    async def seal(self, tenant: str, kind: str, body_id: str, clear: bytes) -> bytes:
        """Format byte, nonce, ciphertext with its tag: 29 bytes more than `clear`."""
        cipher = await self._cipher(tenant)
        nonce = secrets.token_bytes(NONCE_BYTES)
        return FORMAT + nonce + cipher.encrypt(nonce, clear, _bound_to(tenant, kind, body_id))

    async def open(self, tenant: str, kind: str, body_id: str, sealed: bytes) -> bytes:
        """The clear body. Raises `Invalid` where it was altered, or sealed for something else."""
        if sealed[:1] != FORMAT:
            raise Invalid("The sealed body has a format this release does not know.")
        cipher = await self._cipher(tenant)
        nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, ciphertext, _bound_to(tenant, kind, body_id))
        except (InvalidTag, ValueError) as error:  # altered, or too short to hold its nonce
            raise Invalid(f"The sealed {kind} {body_id} does not open under the key of {tenant}.") from error

    async def _cipher(self, tenant: str) -> AESGCM:
        cipher = self._ciphers.get(tenant)
        if cipher is not None:
            return cipher
        loading = self._loading.get(tenant)
        if loading is None:
            loading = self._loading[tenant] = asyncio.create_task(self._load(tenant))
        return await asyncio.shield(loading)

    async def _load(self, tenant: str) -> AESGCM:
        try:
            wrapped = await self._data_keys.get(tenant)
            if wrapped is None:
                fresh = await self._master.wrap(tenant, secrets.token_bytes(KEY_BYTES))
                wrapped = await self._data_keys.create(tenant, fresh)
            cipher = AESGCM(await self._master.unwrap(tenant, wrapped))
        finally:
            del self._loading[tenant]
        self._ciphers[tenant] = cipher
        if len(self._ciphers) > CACHED_TENANTS:
            self._ciphers.popitem(last=False)
        return cipher

    def forget(self, tenant: str) -> None:
        """Drops a remembered data key, after it was erased."""
        self._ciphers.pop(tenant, None)


def _bound_to(tenant: str, kind: str, body_id: str) -> bytes:
    return f"{tenant}|{kind}|{body_id}".encode()
