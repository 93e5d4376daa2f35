"""AES-256-GCM under per-tenant data keys; a body opens only as what it was sealed for."""

import asyncio
import hmac
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
        self._known: OrderedDict[str, _Keyed] = OrderedDict()
        self._loading: dict[str, asyncio.Task[_Keyed]] = {}

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
        return (await self._keyed(tenant)).cipher

    async def secret(self, tenant: str, purpose: str) -> bytes:
        """32 bytes that only the tenant's data key leads to, and nothing leads back from; another for each
        purpose, and always the same.
        """
        return (await self._keyed(tenant)).secret(tenant, purpose)

    async def _keyed(self, tenant: str) -> "_Keyed":
        keyed = self._known.get(tenant)
        if keyed is not None:
            return keyed
        loading = self._loading.get(tenant)
        if loading is None:
            loading = self._loading[tenant] = asyncio.create_task(self._load(tenant))
        return await asyncio.shield(loading)

    async def _load(self, tenant: str) -> "_Keyed":
        try:
            wrapped = await self._data_keys.get(tenant)
            if wrapped is None:
                fresh = await self._master.wrap(tenant, secrets.token_bytes(KEY_BYTES))
                wrapped = await self._data_keys.create(tenant, fresh)
            keyed = _Keyed(await self._master.unwrap(tenant, wrapped))
        finally:
            del self._loading[tenant]
        self._known[tenant] = keyed
        if len(self._known) > CACHED_TENANTS:
            self._known.popitem(last=False)
        return keyed

    def forget(self, tenant: str) -> None:
        """Drops a remembered data key, after it was erased."""
        self._known.pop(tenant, None)


class _Keyed:
    """What is made of a data key."""

    __slots__ = ("_data_key", "cipher")

    def __init__(self, data_key: bytes) -> None:
        self._data_key = data_key
        self.cipher = AESGCM(data_key)

    def secret(self, tenant: str, purpose: str) -> bytes:
        return hmac.digest(self._data_key, f"penstock|{purpose}|{tenant}".encode(), "sha256")


def _bound_to(tenant: str, kind: str, body_id: str) -> bytes:
    return f"{tenant}|{kind}|{body_id}".encode()
