"""`/admin/v1/backups`: the backups there are, and one more now."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from events.backup import BackupCompleted, BackupFailed
from events.bus import Message, Publisher
from events.catalog import JOBS, KNOWN
from events.envelope import Event, decode, type_of
from events.words import Unavailable
from functions.backup.handler import JOB
from functions.backup.manifest import Archive, backup_id
from services.jobs.starts import by_hand, start
from services.router.admin import Conversation, Watch, guarded
from services.router.api import answer
from services.router.gate import AdminGate

WAIT_S = 60.0  # less than a caller waits for an answer
ENDS = frozenset({type_of(BackupCompleted), type_of(BackupFailed)})


class Archives(Protocol):
    """Where archives are kept."""

    async def kept(self) -> Sequence[Archive]:
        """Every archive that is whole, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backups:
    """What is told of backups: the archives, where they lie, and where the master key lies, which is in none
    of them.
    """

    archives: Archives
    place: str
    master_key: str


class BackupApi:
    """The operators' endpoints about backups."""

    def __init__(
        self,
        gate: AdminGate,
        backups: Backups,
        publisher: Publisher,
        conversation: Conversation,
        *,
        now: Callable[[], datetime],
        wait_s: float = WAIT_S,
    ) -> None:
        self._gate = gate
        self._backups = backups
        self._publisher = publisher
        self._conversation = conversation
        self._now = now
        self._wait_s = wait_s
        self._job = next(job for job in JOBS if job.name == JOB)

    def routes(self) -> list[BaseRoute]:
        """Where everything is."""
        return guarded(self._gate, {("GET", "/backups"): self.list, ("POST", "/backups"): self.run})

    async def list(self, request: Request) -> Response:
        """All backups, newest first."""
        found: dict[str, dict[str, object]] = {}
        for archive in await self._backups.archives.kept():
            named: dict[str, object] = {"id": archive.backup_id, "taken_at": archive.taken_at}
            found.setdefault(archive.backup_id, named).update(_view(archive))
        return answer({"data": [found[name] for name in sorted(found, reverse=True)]})

    async def run(self, request: Request) -> Response:
        """Takes a backup; 202 where it takes longer than a caller waits, and goes on."""
        now = self._now()
        message = start(self._job, by_hand(self._job, now), now)
        name = backup_id(message.attributes["ce-id"], now)
        async with aclosing(self._conversation.watch()) as watch:
            await watch.ready()  # before it can be told of
            await self._publisher.publish([message])
            try:
                async with asyncio.timeout(self._wait_s):
                    ended = await _end_of(name, watch)
            except TimeoutError:
                return answer({"id": name, **self._places()}, 202)
        if isinstance(ended, BackupFailed):
            raise Unavailable(ended.reason)
        return answer({"id": name, **_sizes(ended), **self._places()}, 201)

    def _places(self) -> dict[str, object]:
        return {"place": self._backups.place, "master_key": self._backups.master_key}


async def _end_of(name: str, watch: Watch) -> BackupCompleted | BackupFailed:
    async for message in watch:
        event = _event(name, message)
        if isinstance(event, BackupCompleted | BackupFailed):
            return event
    raise Unavailable("The conversation ended before the backup did; penstock backup list will show it.")


def _event(name: str, message: Message) -> Event | None:
    told = message.attributes
    if told.get("ce-subject") != name or told.get("ce-type") not in ENDS:
        return None
    return decode(told, message.data, KNOWN).event


def _sizes(ended: BackupCompleted) -> dict[str, object]:
    return {
        "taken_at": ended.taken_at,
        "data_bytes": ended.data_bytes,
        "data_keys_bytes": ended.data_keys_bytes,
    }


def _view(archive: Archive) -> dict[str, object]:
    if archive.kind == "data-keys":
        return {"data_keys_bytes": archive.bytes}
    return {"data_bytes": archive.bytes, "verified_at": archive.verified_at}
