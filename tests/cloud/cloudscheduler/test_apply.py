"""`penstock jobs apply` as a process."""

from collections.abc import Iterator

import pytest

from events.catalog import JOBS
from tests.cloud.cloudscheduler.serving import Server, serving
from tests.support.command import Ended, penstock

NAMES = [f"penstock-{job.name}" for job in JOBS]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


def apply(server: Server, *arguments: str) -> Ended:
    return penstock(
        *("jobs", "apply", "--location", "here", *arguments),
        CLOUD_SCHEDULER_EMULATOR_HOST=server.address,
        GOOGLE_CLOUD_PROJECT="test",
    )


def test_a_dry_run_says_what_would_be_done_and_does_nothing(server: Server) -> None:
    ended = apply(server, "--dry-run")

    assert 0 == ended.code, ended.err
    assert all(f"create  {name}" in ended.out for name in NAMES)
    assert "Nothing was changed: this was a dry run.\n" == ended.err
    assert {} == server.jobs


def test_jobs_are_applied_and_stay_so(server: Server) -> None:
    first, second = (apply(server, "--json").json for _ in range(2))

    assert [("create", name) for name in NAMES] == [(row["verb"], row["name"]) for row in first]
    assert [("keep", name) for name in NAMES] == [(row["verb"], row["name"]) for row in second]
    assert {f"projects/test/locations/here/jobs/{name}" for name in NAMES} == server.jobs.keys()
