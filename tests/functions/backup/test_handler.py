from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import count
from typing import Any

import pytest

from events.backup import BackupCompleted, BackupFailed
from events.envelope import Event, wrap
from events.inference import InferenceRequested
from events.jobs import JobDue
from events.words import Conflict, Invalid, Unavailable
from functions.backup.handler import Ports, handle
from functions.backup.manifest import Archive, Kind, backup_id
from functions.backup.retention import Keep
from services.adapters.memory.archives import MemoryArchives
from tests.contracts.crashing import Life, Stop
from tests.functions.backup.archives import DAY, HOUR, NOON

pytestmark = pytest.mark.anyio

SIZES: dict[Kind, int] = {"data": 1000, "data-keys": 10}
KEEP: dict[Kind, Keep] = {"data": Keep(last=2, days=30), "data-keys": Keep(last=1, days=1, verified=False)}


class World:
    """Archives and a clock."""

    def __init__(self) -> None:
        self.now = NOON
        self.archives = MemoryArchives(lambda kind: SIZES[kind], lambda: self.now)

    async def due(self, id: str, archives: Any = None, keep: dict[Kind, Keep] | None = None) -> Event:
        event = JobDue(job="take-backup", slot=self.now)
        ports = Ports(archives=archives or self.archives, keep=KEEP if keep is None else keep)
        (told,) = await handle(wrap(event, id=id, source="/scheduler", time=self.now), ports)
        return told

    async def kept(self, kind: Kind) -> list[datetime]:
        return [archive.taken_at for archive in await self.archives.kept() if archive.kind == kind]


class Failing:
    """Archives that cannot be written now."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    async def take(self, backup_id: str, at: datetime) -> Sequence[Archive] | None:
        if self._error is not None:
            raise self._error
        return None


@pytest.fixture
def world() -> World:
    return World()


async def test_a_backup_that_is_due_is_taken_and_told_with_its_sizes(world: World) -> None:
    name = backup_id("e1", NOON)
    expected = BackupCompleted(backup_id=name, taken_at=NOON, data_bytes=1000, data_keys_bytes=10)

    assert expected == await world.due("e1")
    assert [NOON] == await world.kept("data") == await world.kept("data-keys")


async def test_the_same_event_tells_the_same_backup_again(world: World) -> None:
    first = await world.due("e1")
    event = JobDue(job="take-backup", slot=NOON)
    world.now += HOUR
    again = await handle(
        wrap(event, id="e1", source="/scheduler", time=NOON), Ports(archives=world.archives, keep=KEEP)
    )

    assert [first] == list(again)
    assert [NOON] == await world.kept("data")


async def test_old_archives_go_each_kind_in_its_own_time(world: World) -> None:
    for number in range(3):
        world.now = NOON + number * HOUR / 2
        await world.due(f"e{number}")
    assert [NOON + HOUR / 2, NOON + HOUR] == await world.kept("data")
    assert [NOON + HOUR] == await world.kept("data-keys")

    world.now += 3 * DAY
    await world.due("later")
    assert [NOON + HOUR, world.now] == await world.kept("data")
    assert [world.now] == await world.kept("data-keys")


async def test_the_newest_verified_backup_outlives_all_that_were_not(world: World) -> None:
    await world.due("e0")
    (proven, _) = await world.archives.kept()
    world.archives.note_verified(proven, NOON)
    for number in (40, 41, 42):
        world.now = NOON + number * DAY
        await world.due(f"e{number}", keep={**KEEP, "data": Keep(last=1, days=1)})

    assert NOON in await world.kept("data")


async def test_what_is_thinned_out_by_others_is_left_alone(world: World) -> None:
    for number in range(5):
        world.now = NOON + number * 100 * DAY
        await world.due(f"e{number}", keep={})
    assert 5 == len(await world.kept("data"))


@pytest.mark.parametrize("late", [False, True], ids=["before its effect", "after its effect"])
async def test_stopping_at_any_port_call_changes_nothing(late: bool) -> None:
    expected = await older_backups()
    told = await expected.due("e1")
    for last in count(1):
        world, life = await older_backups(), Life(last, late=late)
        with suppress(Stop):
            await world.due("e1", archives=life.around(world.archives))
        if not life.over:
            break
        assert told == await world.due("e1")
        assert await expected.archives.kept() == await world.archives.kept()
    assert last > 3


async def older_backups() -> World:
    """More than are kept."""
    world = World()
    for number in range(4):
        world.now += HOUR
        await world.archives.take(backup_id(f"e{number}", world.now), world.now)
    world.now += HOUR
    return world


@pytest.mark.parametrize(
    "error", [Unavailable("The disk is full."), Invalid("It is damaged."), Conflict("No.")]
)
async def test_that_it_failed_is_told_with_the_reason(world: World, error: Exception) -> None:
    told = await world.due("e1", archives=Failing(error))
    assert BackupFailed(backup_id=backup_id("e1", NOON), reason=str(error)) == told


async def test_one_that_is_still_being_written_is_asked_for_again(world: World) -> None:
    with pytest.raises(Unavailable, match="still being written"):
        await world.due("e1", archives=Failing(None))


@pytest.mark.parametrize(
    "event",
    [
        JobDue(job="settle-usage", slot=NOON),
        InferenceRequested(request_id="r1", tenant="acme", model="m", lane="batch"),
    ],
    ids=["another job", "another event"],
)
async def test_other_events_are_refused(world: World, event: Event) -> None:
    with pytest.raises(Invalid, match="does not consume"):
        await handle(
            wrap(event, id="e1", source="/test", time=NOON), Ports(archives=world.archives, keep=KEEP)
        )
