"""What requests cost on Google's services stays what docs/cost.md says."""

import importlib.util
import json
import subprocess
import sys
from typing import Any

import pytest

from services.adapters.emulators import FIRESTORE, PUBSUB, missing
from tests.architecture.source import ROOT

pytestmark = pytest.mark.slow

GOAL = 0.05  # store writes of a synchronous request, at
FULL_RATE = 1000  # requests a second through one router of
TENANTS = 3


def lacking() -> str:
    for kind in (FIRESTORE, PUBSUB):
        if told := missing(kind):
            return told
    if importlib.util.find_spec("functions_framework") is None:
        return "functions-framework is missing here; pip install --require-hashes -r infra/locks/all.txt"
    return ""


@pytest.fixture(scope="module")
def run() -> Any:
    if told := lacking():
        pytest.skip(told)
    command = [sys.executable, "-P", "-m", "tests.cost", "--quick", "--json"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, (ended.stdout, ended.stderr[-3000:])
    return json.loads(ended.stdout)


def total(counts: dict[str, float], kind: str) -> float:
    return sum(number for name, number in counts.items() if name.startswith(kind))


def test_every_request_is_recorded_and_billed_once(run: Any) -> None:
    for row in (*run["synchronous"], *run["queued"]):
        assert [] == row["problems"]
    for row in run["synchronous"]:
        assert row["requests"] == row["pages"]["started"] == row["pages"]["completed"]


def test_pages_are_stored_without_reading_anything_but_them(run: Any) -> None:
    for row in run["synchronous"]:
        pages, metering = row["pages"], row["counts"]["metering"]
        # One write stores a page, one marks it folded, and the sweep reads it once. Beside that it asks
        # which producers there are, what each left, and whether there is more.
        assert 2 * pages["pages"] == metering["writes ledger"]
        assert metering["reads ledger"] <= pages["pages"] + 10
        assert metering["reads standings"] <= 10
        others = {name for name in metering if name.startswith("reads") and name not in READ}
        assert set() == others


READ = ("reads ledger", "reads standings", "reads config", "reads job_records")


def test_a_page_adds_to_the_sums_of_its_tenants_and_starts_add_to_none(run: Any) -> None:
    for row in run["synchronous"]:
        pages = row["pages"]
        assert row["counts"]["metering"]["writes usage"] <= TENANTS * (pages["pages"] - pages["only_starts"])


def test_a_router_costs_no_more_writes_a_second_than_the_goal_allows_at_its_full_rate(run: Any) -> None:
    (row,) = [row for row in run["synchronous"] if row["way"] == "sink"]
    # Pages are as many a second, however full they are.
    assert row["rate"] > 40
    writes_per_s = total(row["counts"]["metering"], "writes") / row["requests"] * row["rate"]

    assert writes_per_s / FULL_RATE < GOAL


def test_a_router_asks_the_store_for_no_request(run: Any) -> None:
    for row in run["synchronous"]:
        router = row["counts"]["router"]
        assert 0 == total(router, "writes") + total(router, "deletes")
        # Each key once; and what a poll that fell on the edge of the measurement reads.
        assert total(router, "reads") <= TENANTS + 20


def test_nothing_is_left_of_a_queued_request(run: Any) -> None:
    for row in run["queued"]:
        dispatcher = row["counts"]["dispatcher"]
        assert row["requests"] == dispatcher["deletes requests"]
        assert 2 * row["requests"] == dispatcher["deletes bodies"]


def test_a_streamed_response_is_journalled_at_one_write_for_half_a_second(run: Any) -> None:
    (row,) = [row for row in run["queued"] if row["way"].startswith("streamed")]
    writes = row["counts"]["dispatcher"]["writes journal"]

    assert row["counts"]["dispatcher"]["deletes journal"] == writes
    assert 1 <= writes / row["requests"] <= 2 * float(row["way"].split()[-2]) + 2
