"""`penstock jobs` against a running platform."""

from datetime import datetime

import pytest

from services.cli.commands.jobs import Gap, Job, Run, row
from tests.services.cli.conftest import Command
from tests.support.platform import Running, eventually

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_jobs_are_listed_run_paused_and_resumed(platform: Running, command: Command) -> None:
    paused = await command("jobs", "pause", "settle-usage")
    started = await command("jobs", "run", "settle-usage")

    async def ran() -> bool:
        rows = {row["name"]: row for row in (await platform.admin("GET", "/jobs"))["data"]}
        return any(run["by_hand"] and run["outcome"] == "finished" for run in rows["settle-usage"]["runs"])

    await eventually(ran)
    table = await command("jobs", "list")
    rows = {row["name"]: row for row in (await command("jobs", "list", "--json")).json}
    resumed = await command("jobs", "resume", "settle-usage")

    assert "settle-usage is paused. Go on with: penstock jobs resume settle-usage\n" == paused.out
    assert "settle-usage is started." in started.out
    (line,) = [line for line in table.out.splitlines() if line.startswith("settle-usage")]
    assert "* * * * *, every 15 s" in line
    assert "UTC" in line
    assert "paused" in line
    assert "finished by hand" in line
    assert all(word in table.out for word in ("SCHEDULE", "NEXT (UTC)", "OUTCOME", "TOOK", "LAST MISSED"))
    assert None is rows["settle-usage"]["next_slot"]
    assert datetime.fromisoformat(rows["sweep-requests"]["next_slot"]).tzinfo
    assert "settle-usage runs again; it is due next at " in resumed.out


@pytest.mark.slow
async def test_what_scripts_get_is_json(command: Command) -> None:
    paused = (await command("jobs", "pause", "settle-usage", "--json")).json
    resumed = (await command("jobs", "resume", "settle-usage", "--json")).json
    started = (await command("jobs", "run", "settle-usage", "--json")).json

    assert ("settle-usage", True) == (paused["name"], bool(paused["paused_at"]))
    assert None is resumed["paused_at"]
    assert "settle-usage" == started["name"]


@pytest.mark.slow
async def test_a_job_that_is_not_there_is_told_with_those_that_are(command: Command) -> None:
    assert "There is no job 'a/b'. Jobs: " in (await command("jobs", "run", "a/b")).sentence


def test_a_row_tells_what_became_of_the_last_run() -> None:
    never = Job(name="x", schedule="30 2 * * *", zone="Europe/Berlin", next_slot="2027-03-02T01:30:00Z")
    failed = Run(slot="2027-03-01T01:30:00Z", outcome="failed", duration_s=2.04, problem="The disk is full.")
    ran = Job(
        name="x",
        schedule="",
        zone="UTC",
        every_s=0.5,
        last=failed,
        missed=[Gap(last="2027-02-28T01:30:00Z"), Gap(last="2027-01-01T00:00:00Z")],
    )

    assert {
        "name": "x",
        "schedule": "30 2 * * *",
        "zone": "Europe/Berlin",
        "next": "2027-03-02T01:30:00Z",
        "last": None,
        "outcome": None,
        "took": None,
        "missed": None,
    } == row(never)
    assert {
        "schedule": "every 0.5 s",
        "outcome": "failed: The disk is full.",
        "took": "2.0 s",
        "missed": "2027-02-28T01:30:00Z",
    }.items() <= row(ran).items()
