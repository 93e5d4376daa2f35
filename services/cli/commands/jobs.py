"""`penstock jobs`."""

from urllib.parse import quote

import click
import msgspec

from services.cli import options, platform, show
from services.cli.entered import a_line

COLUMNS = {
    "name": "JOB",
    "schedule": "SCHEDULE",
    "zone": "ZONE",
    "next": "NEXT (UTC)",
    "last": "LAST (UTC)",
    "outcome": "OUTCOME",
    "took": "TOOK",
    "missed": "LAST MISSED",
}
STEPS = {"verb": "STEP", "name": "CLOUD SCHEDULER JOB", "detail": "WHAT DIFFERS"}


class Run(msgspec.Struct):
    """The last run of a job."""

    slot: str
    outcome: str
    duration_s: float | None = None
    problem: str | None = None
    by_hand: bool = False


class Gap(msgspec.Struct):
    """Slots that nothing ran."""

    last: str


class Job(msgspec.Struct):
    """A job, as the platform tells about it."""

    name: str
    schedule: str
    zone: str
    every_s: float | None = None
    paused_at: str | None = None
    next_slot: str | None = None
    last: Run | None = None
    missed: list[Gap] = []


class Jobs(msgspec.Struct):
    """All of them."""

    data: list[Job]


class Started(msgspec.Struct):
    """A job that was started by hand."""

    name: str


@click.group()
def command() -> None:
    """See what runs by schedule; start, pause and resume it.

    A schedule says when a job is due, in the five fields of cron and by the clock of its time zone. What is
    due is said on the job's topic, and whoever consumes that runs it: each time once, also where several
    schedulers say it. Times that passed while nothing could run are missed, but the latest of them is made
    up for as long as the next is not due.

    On one machine `penstock up` keeps the schedules. In the cloud it is Cloud Scheduler: `penstock jobs
    apply` tells it about every job.
    """


@command.command("list")
@options.data_dir
@options.json_output
def list_jobs(data_dir: str | None, as_json: bool) -> None:
    """List jobs: when they are due next, and what became of the last run. --json lists the latest runs."""
    answer = platform.find(data_dir).admin("GET", "/jobs")
    if as_json:
        show.as_json(answer.read(platform.Rows).data)
    else:
        rows = [row(job) for job in answer.read(Jobs).data]
        show.as_table(rows, COLUMNS, empty="No jobs.", folds=("outcome",))


@command.command()
@click.argument("job", callback=a_line)
@options.data_dir
@options.json_output
def run(job: str, data_dir: str | None, as_json: bool) -> None:
    """Start JOB now, besides its schedule and even if it is paused."""
    answer = _post(job, "run", data_dir)
    if as_json:
        show.as_json(answer.read(platform.Json))
    else:
        click.echo(f"{answer.read(Started).name} is started. What becomes of it: penstock jobs list")


@command.command()
@click.argument("job", callback=a_line)
@options.data_dir
@options.json_output
def pause(job: str, data_dir: str | None, as_json: bool) -> None:
    """Leave JOB out from now on, also after a restart, until `penstock jobs resume`.

    What it does is then not done: while settle-usage pauses, nothing that crashed is billed.
    """
    answer = _post(job, "pause", data_dir)
    if as_json:
        show.as_json(answer.read(platform.Json))
    else:
        name = answer.read(Job).name
        click.echo(f"{name} is paused. Go on with: penstock jobs resume {name}")


@command.command()
@click.argument("job", callback=a_line)
@options.data_dir
@options.json_output
def resume(job: str, data_dir: str | None, as_json: bool) -> None:
    """Run JOB by its schedule again. What was due meanwhile is not made up for."""
    answer = _post(job, "resume", data_dir)
    if as_json:
        show.as_json(answer.read(platform.Json))
    else:
        resumed = answer.read(Job)
        click.echo(
            f"{resumed.name} runs again; it is due next at {show.minute(resumed.next_slot or '')} UTC."
        )


@command.command()
@options.project
@click.option("--location", required=True, help="Where Cloud Scheduler keeps the jobs, such as europe-west1.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "--server",
    envvar="CLOUD_SCHEDULER_EMULATOR_HOST",
    show_envvar=True,
    metavar="HOST:PORT",
    help="What stands in for Cloud Scheduler, in tests.",
)
@options.json_output
def apply(project: str, location: str, dry_run: bool, server: str | None, as_json: bool) -> None:
    """Make Cloud Scheduler start every job of this release, through its Pub/Sub topic.

    It creates what is missing and updates what differs, as often as you like. It deletes nothing: what it
    does not know is listed as unknown, for you to look at. The topics have to be there: penstock topics
    apply. No platform has to run; the command acts as your own Google identity.
    """
    from services.runtime import cloud_jobs  # noqa: PLC0415  (Google's client takes a second)

    steps = cloud_jobs.apply(project, location, server=server, dry_run=dry_run)
    rows = [{name: getattr(step, name) for name in STEPS} for step in steps]
    if as_json:
        show.as_json(rows)
        return
    show.as_table(rows, STEPS, empty="There are no jobs.", folds=("detail",))
    if dry_run:
        click.echo("Nothing was changed: this was a dry run.", err=True)


def _post(job: str, verb: str, data_dir: str | None) -> platform.Answer:
    return platform.find(data_dir).admin("POST", f"/jobs/{quote(job, safe='')}/{verb}")


def row(job: Job) -> dict[str, object]:
    """What the table shows of a job."""
    last = job.last
    often = f", every {job.every_s:g} s" if job.every_s else ""
    return {
        "name": job.name,
        "schedule": f"{job.schedule}{often}".removeprefix(", "),
        "zone": job.zone,
        "next": "paused" if job.paused_at else job.next_slot,
        "last": last.slot if last else None,
        "outcome": _outcome(last) if last else None,
        "took": None if last is None or last.duration_s is None else f"{last.duration_s:.1f} s",
        "missed": job.missed[0].last if job.missed else None,
    }


def _outcome(run: Run) -> str:
    by_hand = " by hand" if run.by_hand else ""
    problem = f": {run.problem}" if run.problem else ""
    return f"{run.outcome}{by_hand}{problem}"
