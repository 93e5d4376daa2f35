"""The operators' endpoints about jobs, on a whole platform whose jobs nobody starts but the test."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from events.catalog import JOBS
from tests.services.router.refusing import refusal
from tests.support import client
from tests.support.platform import Running, config_file, eventually, running
from tests.support.upstream import Upstream

pytestmark = pytest.mark.anyio

NEVER_S = 86_400.0
JOB = "settle-usage"


@pytest.fixture
async def platform(tmp_path: Path, engine: Upstream) -> AsyncIterator[Running]:
    async with running(tmp_path, config=config_file(tmp_path, engine.url), job_every_s=NEVER_S) as made:
        yield made


async def listed(platform: Running, name: str = JOB) -> dict[str, Any]:
    (row,) = [row for row in (await platform.admin("GET", "/jobs"))["data"] if row["name"] == name]
    return dict(row)


async def ran(platform: Running, name: str = JOB, times: int = 1) -> dict[str, Any]:
    """The job, once it has run so often."""
    found: dict[str, Any] = {}

    async def there() -> bool:
        found.update(await listed(platform, name))
        return [run["outcome"] for run in found["runs"]] == ["finished"] * times

    await eventually(there)
    return found


async def test_jobs_are_listed_with_their_schedules(tmp_path: Path, engine: Upstream) -> None:
    async with running(tmp_path, config=config_file(tmp_path, engine.url)) as platform:
        rows = (await platform.admin("GET", "/jobs"))["data"]
    assert [(job.name, job.schedule, job.zone, job.every_s) for job in JOBS] == [
        (row["name"], row["schedule"], row["zone"], row["every_s"]) for row in rows
    ]
    assert all(datetime.fromisoformat(row["next_slot"]).tzinfo for row in rows)


async def test_a_job_that_is_started_by_hand_runs_and_tells_how_it_ended(platform: Running) -> None:
    assert None is (await listed(platform))["last"]
    async with platform.watching() as watch:
        started = await platform.admin("POST", f"/jobs/{JOB}/run")
        assert JOB == (await watch.next(f"job-{JOB}"))["data"]["job"]
    found = await ran(platform)

    assert JOB == started["name"]
    last = found["last"]
    assert (started["slot"], True, None) == (last["slot"], last["by_hand"], last["problem"])
    assert 0 <= last["duration_s"] < 60
    assert [] == found["missed"]


async def test_a_backup_that_fails_is_a_failed_run_with_its_reason(tmp_path: Path, engine: Upstream) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = {"config": config_file(tmp_path, engine.url), "backup_dir": str(tmp_path / "file" / "backups")}
    async with running(tmp_path, job_every_s=NEVER_S, **settings) as platform:
        await platform.admin("POST", "/jobs/take-backup/run")

        async def has_ended() -> bool:
            last = (await listed(platform, "take-backup"))["last"]
            return last is not None and last["outcome"] != "running"

        await eventually(has_ended)
        last = (await listed(platform, "take-backup"))["last"]

    assert "failed" == last["outcome"]
    assert last["problem"].startswith("Nothing can be kept in")


async def test_a_pause_survives_a_restart_and_is_no_matter_to_a_start_by_hand(
    tmp_path: Path, engine: Upstream
) -> None:
    settings: dict[str, Any] = {"config": config_file(tmp_path, engine.url), "job_every_s": NEVER_S}
    async with running(tmp_path, **settings) as first:
        paused = await first.admin("POST", f"/jobs/{JOB}/pause")
    async with running(tmp_path, **settings) as second:
        assert paused["paused_at"] == (await listed(second))["paused_at"]
        assert None is (await listed(second))["next_slot"]
        await second.admin("POST", f"/jobs/{JOB}/run")
        await ran(second)
        resumed = await second.admin("POST", f"/jobs/{JOB}/resume")

    assert (None, True) == (resumed["paused_at"], bool(resumed["next_slot"]))


async def test_a_paused_job_is_not_run_by_its_schedule_and_a_resumed_one_is(
    tmp_path: Path, engine: Upstream
) -> None:
    async def slot_behind(name: str, time: datetime) -> datetime:
        """The last slot a job has run, once it lies behind a time."""
        slot = time

        async def there() -> bool:
            nonlocal slot
            last = (await listed(platform, name))["last"]
            slot = datetime.fromisoformat(last["slot"]) if last else slot
            return slot > time

        await eventually(there)
        return slot

    async with running(tmp_path, config=config_file(tmp_path, engine.url), job_every_s=0.1) as platform:
        await slot_behind(JOB, datetime.min.replace(tzinfo=UTC))
        paused_at = datetime.fromisoformat((await platform.admin("POST", f"/jobs/{JOB}/pause"))["paused_at"])
        others = await slot_behind("sweep-requests", paused_at + timedelta(seconds=0.3))
        assert datetime.fromisoformat((await listed(platform))["last"]["slot"]) <= paused_at

        await platform.admin("POST", f"/jobs/{JOB}/resume")
        await slot_behind(JOB, others)


@pytest.mark.parametrize("verb", ["run", "pause", "resume"])
async def test_a_job_that_is_not_there_is_told_with_those_that_are(platform: Running, verb: str) -> None:
    headers = {"authorization": f"Bearer {platform.admin_key}"}
    answer = await client.ask(platform.port, "POST", f"/admin/v1/jobs/nothing/{verb}", None, headers)
    told = refusal(answer, 400, "invalid_request")
    assert "There is no job 'nothing'" in told
    assert JOB in told


@pytest.mark.parametrize(("method", "path"), [("GET", "/jobs"), ("POST", f"/jobs/{JOB}/pause")])
async def test_only_operators_are_let_in(platform: Running, method: str, path: str) -> None:
    answer = await platform.call(method, f"/admin/v1{path}")
    refusal(answer, 401, "invalid_admin_key")
