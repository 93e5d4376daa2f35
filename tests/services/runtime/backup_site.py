"""A data folder with its backups, a place to restore to, and what is wrong with them."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from events.words import Invalid
from functions.backup.manifest import Archive
from services.adapters.sqlite.data_keys import SqliteDataKeys
from services.runtime import backups
from services.runtime.backups import Proof
from services.runtime.settings import Settings

KEPT = Path(__file__).parents[2] / "kept" / "schema-1"
NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
FIRST, SECOND = "20270301T120000Z-00000001", "20270301T123000Z-00000002"


@dataclass(slots=True)
class Site:
    """A data folder with something in it, its backups, and a place to restore to."""

    folder: Path
    time: datetime = NOW

    def __post_init__(self) -> None:
        self.data.mkdir(mode=0o700)
        for name in ("data.db", "data-keys.db", "master-key"):
            shutil.copyfile(KEPT / name, self.data / name)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def backups(self) -> Path:
        return self.data / "backups"

    @property
    def target(self) -> Path:
        return self.folder / "restored"

    @property
    def master_key(self) -> Path:
        return self.data / "master-key"

    def clock(self) -> datetime:
        return self.time

    async def take(self, name: str = FIRST) -> list[Archive]:
        made = backups.archives_of(Settings(data_dir=str(self.data)), self.clock)
        self.time += timedelta(minutes=30)
        return await made.take(name, NOW)

    async def verify(self, name: str | None = None) -> Proof:
        return await backups.verify(self.backups, self.master_key, name, NOW)

    async def restore(self, name: str | None = None, **given: Any) -> Proof:
        named = {"master_key": self.master_key, "data_keys": None} | given
        return await backups.restore(self.backups, name, self.target, **named)

    async def refuses(self, told: str, name: str | None = None) -> None:
        """Neither is proven nor brought back, for a reason that says what to do."""
        with pytest.raises(Invalid, match=told) as verifying:
            await self.verify(name)
        with pytest.raises(Invalid, match=told):
            await self.restore(name)
        assert str(verifying.value).endswith(".")
        assert "\n" not in str(verifying.value)
        assert {"lock", "master-key"} >= {path.name for path in self.target.iterdir()}

    async def erase(self, tenant: str) -> None:
        keys = SqliteDataKeys.open(self.data / "data-keys.db")
        await keys.erase(tenant)
        await keys.close()

    def change(self, statement: str) -> None:
        with closing(sqlite3.connect(self.data / "data.db")) as connection, connection:
            connection.execute(statement)
