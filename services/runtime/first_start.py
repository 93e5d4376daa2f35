"""What a platform makes at its first start: the tenant `default`, its API key, the admin key."""

import contextlib
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

from events.words import ApiKey, Conflict, Invalid, Tenant
from services.adapters.local import secret_file
from services.router.credentials import ADMIN_PREFIX, digest, mint, public_id, well_formed
from services.runtime.settings import Settings

DEFAULT_TENANT = "default"

log = logging.getLogger("penstock.first_start")


class Keys(Protocol):
    """The key ring."""

    async def add(self, key: ApiKey) -> None:
        """Keeps a new key; raises `Conflict` where it exists."""

    async def by_hash(self, hash: str) -> ApiKey | None:
        """The key whose SHA-256 (hex) this is."""

    async def add_tenant(self, tenant: Tenant) -> None:
        """Keeps a new tenant; raises `Conflict` where it exists."""


async def development_key(
    folder: Path, settings: Settings, keys: Keys, now: Callable[[], datetime]
) -> str | None:
    """The key people start with: it acts for the tenant `default`, which exists from now on.

    One that was revoked stays revoked: in place of the one in the folder a new one is made. In place of
    one that was given there is None, and nothing is to be tried with it.
    """
    key = api_key(folder, settings)
    await ensure_tenant(keys, key, now)
    kept = await keys.by_hash(digest(key))
    if kept is None or kept.usable_at(now()):
        return key
    if settings.api_key:
        log.warning("PENSTOCK_API_KEY was revoked, or its time is over: give another one, or none")
        return None
    key = mint()
    secret_file.write(folder / "api-key", key)
    await ensure_tenant(keys, key, now)
    return key


def api_key(folder: Path, settings: Settings) -> str:
    """The development key: the one given, else the one made at the first start."""
    key = settings.api_key or secret_file.read_or_create(folder / "api-key", mint)
    if not well_formed(key):
        named = "PENSTOCK_API_KEY" if settings.api_key else folder / "api-key"
        raise Invalid(f"{named} is not an API key of Penstock; make one with: penstock keys create.")
    return key


def admin_key(folder: Path, settings: Settings) -> str:
    """The operators' key: the one given, else the one made at the first start."""
    if settings.admin_key and not settings.admin_key.isascii():
        raise Invalid("PENSTOCK_ADMIN_KEY holds letters no header can carry; use ASCII.")
    return settings.admin_key or secret_file.read_or_create(folder / "admin-key", lambda: mint(ADMIN_PREFIX))


async def ensure_tenant(keys: Keys, key: str, now: Callable[[], datetime]) -> None:
    """The tenant `default` exists and the development key acts for it (unless it was revoked)."""
    with contextlib.suppress(Conflict):
        await keys.add_tenant(Tenant(id=DEFAULT_TENANT, name="Default", created_at=now()))
    with contextlib.suppress(Conflict):
        await keys.add(
            ApiKey(
                hash=digest(key),
                id=public_id(key),
                tenant=DEFAULT_TENANT,
                name="development",
                created_at=now(),
            )
        )
