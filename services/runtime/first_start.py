"""What a platform makes at its first start: the tenant `default`, its API key, the admin key."""

import contextlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

from events.words import ApiKey, Conflict, Invalid, Tenant
from services.adapters.local.secret_file import read_or_create
from services.router.credentials import ADMIN_PREFIX, digest, mint, public_id, well_formed
from services.runtime.settings import Settings

DEFAULT_TENANT = "default"


class Keys(Protocol):
    """The key ring."""

    async def add(self, key: ApiKey) -> None:
        """Keeps a new key; raises `Conflict` where it exists."""

    async def add_tenant(self, tenant: Tenant) -> None:
        """Keeps a new tenant; raises `Conflict` where it exists."""


def api_key(folder: Path, settings: Settings) -> str:
    """The development key: the one given, else the one made at the first start."""
    key = settings.api_key or read_or_create(folder / "api-key", mint)
    if not well_formed(key):
        named = "PENSTOCK_API_KEY" if settings.api_key else folder / "api-key"
        raise Invalid(f"{named} is not an API key of Penstock; make one with: penstock keys create.")
    return key


def admin_key(folder: Path, settings: Settings) -> str:
    """The operators' key: the one given, else the one made at the first start."""
    return settings.admin_key or read_or_create(folder / "admin-key", lambda: mint(ADMIN_PREFIX))


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
