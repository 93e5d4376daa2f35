"""Archives: written once for each backup, listed, deleted; in a folder they appear whole and sealed."""

import asyncio
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from events.words import Conflict, Invalid, Unavailable
from functions.backup.manifest import KINDS, Contents, Kind
from services.adapters.local.archive import MANIFEST, manifest_of, note_verified, place_of, unpack
from services.adapters.local.archives import FolderArchives, Source, names
from services.adapters.local.master_key import FileMasterKey
from services.adapters.memory.archives import MemoryArchives
from tests.contracts.adapters import START, Clock

pytestmark = pytest.mark.anyio

CONTENTS = Contents(schema=1, rows={"notes": 1})
FIRST, SECOND = "20270301T120000Z-00000001", "20270301T123000Z-00000002"

Archives = MemoryArchives | FolderArchives


def text(content: bytes) -> Source:
    """Something that is copied in one go."""

    def copy(target: Path, stopped: Callable[[], bool]) -> Contents:
        target.write_bytes(content)
        return CONTENTS

    return Source(copy=copy, size=lambda: len(content))


SOURCES: dict[Kind, Source] = {"data": text(b"data" * 1000), "data-keys": text(b"keys")}


@pytest.fixture
def seal(tmp_path: Path) -> FileMasterKey:
    return FileMasterKey(tmp_path / "master-key")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "made" / "backups"


Make = Callable[[dict[Kind, Source]], FolderArchives]


@pytest.fixture
def make(folder: Path, seal: FileMasterKey, clock: Clock) -> Make:
    def made(sources: dict[Kind, Source]) -> FolderArchives:
        return FolderArchives(folder, seal, sources, release="0.1.0", now=clock)

    return made


@pytest.fixture
def in_folder(make: Make) -> FolderArchives:
    return make(SOURCES)


@pytest.fixture(params=["memory", "folder"])
def archives(request: pytest.FixtureRequest, in_folder: FolderArchives, clock: Clock) -> Archives:
    return in_folder if request.param == "folder" else MemoryArchives(lambda kind: 7, clock)


async def test_a_backup_is_an_archive_of_each_kind(archives: Archives) -> None:
    taken = await archives.take(FIRST, START)

    assert [(kind, FIRST, START) for kind in KINDS] == [(a.kind, a.backup_id, a.taken_at) for a in taken]
    assert all(archive.bytes > 0 and archive.verified_at is None for archive in taken)
    assert list(taken) == list(await archives.kept())


async def test_a_backup_is_taken_once_however_often_it_is_asked_for(archives: Archives, clock: Clock) -> None:
    first = await archives.take(FIRST, START)
    clock.forward(60)

    assert list(first) == list(await archives.take(FIRST, START))
    assert 2 == len(await archives.kept())


async def test_archives_are_listed_oldest_first(archives: Archives) -> None:
    await archives.take(SECOND, START)
    await archives.take(FIRST, START)

    assert [FIRST, FIRST, SECOND, SECOND] == [archive.backup_id for archive in await archives.kept()]


async def test_where_nothing_was_taken_nothing_is_listed(archives: Archives) -> None:
    assert [] == list(await archives.kept())


async def test_archives_are_deleted_one_by_one_and_those_gone_are_passed_over(archives: Archives) -> None:
    data, keys = await archives.take(FIRST, START)
    await archives.delete([keys])
    assert [data] == list(await archives.kept())

    await archives.delete([keys, data])
    assert [] == list(await archives.kept())


# --- in a folder


def modes(folder: Path) -> set[str]:
    return {
        f"{'folder' if path.is_dir() else 'file'} {stat.S_IMODE(path.stat().st_mode):o}"
        for path in (folder, *folder.rglob("*"))
    }


async def test_only_their_owner_can_read_them(in_folder: FolderArchives, folder: Path) -> None:
    (archive, _) = await in_folder.take(FIRST, START)
    note_verified(place_of(folder, "data", FIRST), START)

    assert {"folder 700", "file 600"} == modes(folder)
    assert [f"{archive.kind}.db.gz", MANIFEST, "verified"] == sorted(
        path.name for path in place_of(folder, "data", FIRST).iterdir()
    )


async def test_what_comes_back_is_what_was_copied(
    in_folder: FolderArchives, folder: Path, seal: FileMasterKey, tmp_path: Path
) -> None:
    await in_folder.take(FIRST, START)
    manifest = await manifest_of(folder, "data", FIRST, seal, known_schema=1)
    unpack(place_of(folder, "data", FIRST), manifest.file, tmp_path / "back")

    assert b"data" * 1000 == (tmp_path / "back").read_bytes()
    assert (CONTENTS, "0.1.0", START) == (manifest.contents, manifest.release, manifest.taken_at)


async def test_that_one_was_verified_is_remembered(in_folder: FolderArchives, folder: Path) -> None:
    await in_folder.take(FIRST, START)
    note_verified(place_of(folder, "data", FIRST), START)

    assert [START, None] == [archive.verified_at for archive in await in_folder.kept()]


async def test_data_are_copied_before_their_keys(make: Make) -> None:
    order: list[Kind] = []

    def noting(kind: Kind) -> Source:
        def copy(target: Path, stopped: Callable[[], bool]) -> Contents:
            order.append(kind)
            return SOURCES[kind].copy(target, stopped)

        return Source(copy=copy, size=lambda: 1)

    await make({kind: noting(kind) for kind in reversed(KINDS)}).take(FIRST, START)
    assert ["data", "data-keys"] == order


def failing(error: Exception) -> Source:
    def copy(target: Path, stopped: Callable[[], bool]) -> Contents:
        target.write_bytes(b"half")
        raise error

    return Source(copy=copy, size=lambda: 1)


@pytest.mark.parametrize(
    ("error", "kind"), [(OSError(28, "No space left"), Unavailable), (Invalid("damaged"), Invalid)]
)
async def test_one_that_fails_leaves_nothing_and_the_next_one_works(
    make: Make, folder: Path, error: Exception, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        await make({**SOURCES, "data-keys": failing(error)}).take(FIRST, START)
    assert [] == list((folder / "data-keys").iterdir())

    await make(SOURCES).take(FIRST, START)
    assert [FIRST] == names(folder, "data-keys")


async def test_what_a_dead_process_left_half_written_is_cleared_away(
    in_folder: FolderArchives, folder: Path
) -> None:
    left = folder / "data" / f".draft-{FIRST}"
    left.mkdir(parents=True)
    (left / "raw").write_bytes(b"half")

    assert [] == list(await in_folder.kept())
    await in_folder.take(SECOND, START)
    assert not left.exists()


async def test_a_process_that_stops_waits_for_no_copy(make: Make, folder: Path) -> None:
    copying, broke_off = threading.Event(), threading.Event()

    def endless(target: Path, stopped: Callable[[], bool]) -> Contents:
        copying.set()
        while not stopped():
            pass
        broke_off.set()
        raise Unavailable("It was stopped.")

    source = Source(copy=endless, size=lambda: 1)
    task = asyncio.create_task(make({**SOURCES, "data": source}).take(FIRST, START))
    await asyncio.to_thread(copying.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await asyncio.to_thread(broke_off.wait, 10)


async def test_a_backup_is_refused_where_it_would_fill_the_disk(make: Make, folder: Path) -> None:
    huge = Source(copy=SOURCES["data"].copy, size=lambda: shutil.disk_usage("/").total)
    with pytest.raises(Unavailable, match=r"wants .* bytes to be free, and .* are. Make room, or"):
        await make({**SOURCES, "data": huge}).take(FIRST, START)

    assert [] == names(folder, "data")


async def test_a_folder_that_cannot_be_made_is_told(make: Make, folder: Path) -> None:
    folder.parent.write_text("a file in the way")
    with pytest.raises(Unavailable, match="Nothing can be kept in"):
        await make(SOURCES).take(FIRST, START)


async def test_another_platforms_backup_is_not_taken_for_ours(
    in_folder: FolderArchives, folder: Path, tmp_path: Path, clock: Clock
) -> None:
    other = FileMasterKey(tmp_path / "other-key")
    await FolderArchives(folder, other, SOURCES, release="0.1.0", now=clock).take(FIRST, START)

    with pytest.raises(Conflict, match="a backup folder of its own"):
        await in_folder.take(FIRST, START)


async def test_two_backups_at_once_are_taken_one_after_the_other(make: Make) -> None:
    busy = threading.Lock()

    def alone(target: Path, stopped: Callable[[], bool]) -> Contents:
        assert busy.acquire(blocking=False)
        try:
            return SOURCES["data"].copy(target, stopped)
        finally:
            busy.release()

    archives = make({**SOURCES, "data": Source(copy=alone, size=lambda: 1)})
    await asyncio.gather(*(archives.take(name, START) for name in (FIRST, SECOND, FIRST)))
    assert 4 == len(await archives.kept())
