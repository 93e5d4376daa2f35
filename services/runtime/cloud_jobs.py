"""The catalogue's jobs as Cloud Scheduler jobs: the wiring of `penstock jobs apply`."""

from events.catalog import JOBS
from services.adapters.cloudscheduler.plan import Step, plan, wished
from services.adapters.cloudscheduler.server import CloudScheduler


def apply(project: str, location: str, *, server: str | None, dry_run: bool) -> list[Step]:
    """The steps that were done or, in a dry run, would be; those that do nothing among them.

    `server` (host:port) stands in for Google's.
    """
    scheduler = CloudScheduler(project, location, server=server)
    try:
        steps = plan(wished(JOBS), scheduler.read())
        if not dry_run:
            scheduler.apply(steps)
    finally:
        scheduler.close()
    return steps
