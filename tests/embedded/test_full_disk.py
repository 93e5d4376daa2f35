"""A disk that is full: nothing that was acknowledged is lost, nothing is given unmetered, and it passes."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.needs import needs
from tests.support import client
from tests.support.platform import Running, config_file, eventually, running
from tests.support.upstream import Upstream, answers, upstream
from tests.support.wire import chat, completion, usage

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    needs("mount", "apt install mount"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk; run as root"),
]

BLOCK = b"x" * 4096


class Disk:
    """A small file system that can be filled to its last byte."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        with (self.path / "filler").open("ab", buffering=0) as filler:
            for block in (BLOCK * 16, BLOCK, b"x"):
                while write_some(filler.fileno(), block):
                    pass

    def free(self) -> None:
        (self.path / "filler").unlink()


def write_some(file: int, block: bytes) -> bool:
    try:
        return os.write(file, block) == len(block)
    except OSError:
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(path)], check=True)
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
async def engine() -> AsyncIterator[Upstream]:
    async with upstream() as made:
        made.always = answers(completion(usage=usage(7, 3)))
        yield made


@pytest.fixture
async def platform(tmp_path: Path, disk: Disk, engine: Upstream) -> AsyncIterator[Running]:
    config = config_file(tmp_path, engine.url)
    elsewhere = str(tmp_path / "backups")  # what is copied and thinned out there makes no room here
    async with running(disk.path / "data", config=config, job_every_s=0.5, backup_dir=elsewhere) as made:
        yield made


async def ask(platform: Running, path: str) -> client.Response:
    return await platform.call("POST", path, chat())


async def ingest(platform: Running) -> client.Response:
    headers = {"authorization": f"Bearer {platform.admin_key}"}
    return await client.ask(platform.port, "POST", "/admin/v1/tenants/default/ingest", chat(), headers)


async def test_while_it_is_full_calls_are_refused_and_afterwards_served(
    platform: Running, disk: Disk
) -> None:
    served = 0

    async def chats_with(status: int) -> bool:
        nonlocal served
        answer = await platform.chat()
        served += answer.status == 200
        if answer.status == 503:
            assert ("metering_unavailable", "1") == (answer.error["code"], answer.headers["retry-after"])
        return answer.status == status

    assert await chats_with(200)
    disk.fill()
    await eventually(lambda: chats_with(503))
    assert 200 == (await platform.call("GET", "/v1/models")).status
    disk.free()
    await eventually(lambda: chats_with(200))

    row = await platform.usage(served)
    assert (served, 7 * served, 3 * served, 0) == tuple(
        row[name] for name in ("requests", "input_tokens", "output_tokens", "estimated_tokens")
    )


async def test_what_was_queued_before_is_answered_and_what_came_meanwhile_was_refused(
    platform: Running, disk: Disk
) -> None:
    names = []

    async def refused() -> bool:
        answer = await ask(platform, "/v1/requests")
        if answer.status == 202:
            names.append(answer.json["id"])
        return answer.status == 503

    await refused()
    disk.fill()
    await eventually(refused)
    assert 503 == (await ingest(platform)).status
    disk.free()

    async def taken() -> bool:
        return not await refused()

    await eventually(taken)
    for name in names:
        assert await ends(platform, name) == "completed"


async def ends(platform: Running, name: str) -> str:
    status = ""

    async def ended() -> bool:
        nonlocal status
        status = (await platform.call("GET", f"/v1/requests/{name}?wait=5")).json["status"]
        return status not in ("queued", "in_progress")

    await eventually(ended, within_s=60)  # a run whose end could not be stored is run again after its lease
    return status


async def test_a_platform_that_stops_on_a_full_disk_starts_again(
    tmp_path: Path, disk: Disk, engine: Upstream
) -> None:
    config = config_file(tmp_path, engine.url)
    folder = disk.path / "data"
    async with running(folder, config=config) as first:
        queued = await ask(first, "/v1/requests")
        disk.fill()
        for _ in range(20):
            await first.chat()
    disk.free()
    async with running(folder, config=config) as second:
        assert "completed" == await ends(second, queued.json["id"])
        assert 200 == (await second.chat()).status
