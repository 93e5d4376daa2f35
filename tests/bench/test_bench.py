import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.bench import guard
from tests.bench.books import Account, difference
from tests.bench.platforms import PenstockCloud
from tests.bench.report import ratio
from tests.bench.results import Header, Load, Round, Row
from tests.bench.site.machine import ROOT
from tests.needs import needs

EACH = 87  # output tokens of an answer; its input has 231
CUT_OFF = 64


class Line(msgspec.Struct):
    run: Header
    row: Row


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "tests.bench", *arguments),
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
    )


@pytest.mark.slow
@needs("wrk", "apt install wrk")
@needs("nginx", "apt install nginx-light")
def test_a_quick_run_loses_nothing_and_records_what_it_answered(tmp_path: Path) -> None:
    results, names = tmp_path / "results.jsonl", ("nginx-proxy", "penstock", "penstock-guarded")
    ended = bench("--quick", *names, "--results", str(results), "--folder", str(tmp_path))
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    rows = [msgspec.json.decode(line, type=Line).row for line in results.read_bytes().splitlines()]
    assert list(names) == [row.name for row in rows]
    assert [[], [], []] == [row.problems for row in rows]
    turns = [turn for row in rows for turns in row.streams.values() for turn in turns]
    assert 9 == len(turns)
    assert all(turn.sent == turn.calls.events > 0 for turn in turns)
    assert rows[1].records_checked > 0
    assert rows[1].ledger is not None


@pytest.mark.slow
@needs("wrk", "apt install wrk")
@needs("nginx", "apt install nginx-light")
@pytest.mark.skipif(bool(PenstockCloud.lacks()), reason=str(PenstockCloud.lacks()))
def test_what_a_router_in_the_cloud_answers_is_published(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    ended = bench("--quick", "penstock-cloud", "--results", str(results), "--folder", str(tmp_path))
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    row = msgspec.json.decode(results.read_bytes(), type=Line).row
    assert [] == row.problems
    assert row.records_checked > 0


def test_the_cost_of_a_guard_can_be_counted() -> None:
    found = guard.measured(rounds=1)

    assert {"no guard", "passing", "redacting"} == set(found)
    assert all(event_us > 0 for event_us, _ in found.values())


def test_what_is_missing_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    ended = bench(PATH=str(tmp_path))
    assert 1 == ended.returncode
    assert "apt install wrk" in ended.stderr


@pytest.mark.parametrize(
    ("recorded", "cut_off"),
    [
        (Account(requests=10, input=2310, output=870), 0),
        (Account(requests=10, input=2310, output=870), CUT_OFF),
        # One cut off, which the engine had answered; and two more, which it had not.
        (Account(requests=11, input=2541, output=957), CUT_OFF),
        (Account(requests=13, input=3031, output=957, estimated=490), CUT_OFF),
    ],
)
def test_books_that_hold_what_was_answered_are_right(recorded: Account, cut_off: int) -> None:
    assert difference(recorded, 10, EACH, cut_off) is None


@pytest.mark.parametrize(
    ("recorded", "cut_off"),
    [
        (Account(requests=9, input=2079, output=783), CUT_OFF),
        (Account(requests=11, input=2541, output=957), 0),
        (Account(requests=75, input=17325, output=6525), CUT_OFF),
        (Account(requests=10, input=2310, output=869), 0),
        (Account(requests=10, input=2311, output=869), 0),
        (Account(requests=10, input=2310, output=870, estimated=318), 0),
        (Account(requests=11, input=2310, output=870, estimated=318), CUT_OFF),
    ],
    ids=[
        "one lost",
        "one too many",
        "more than were under way",
        "a token lost",
        "a token moved",
        "an answer only estimated",
        "an answer only estimated, another one cut off",
    ],
)
def test_books_that_differ_are_told_in_words(recorded: Account, cut_off: int) -> None:
    assert "recorded" in (difference(recorded, 10, EACH, cut_off) or "")


def row(name: str, *rps: int) -> Row:
    def load(answered: int) -> Load:
        return Load(answered=answered, failed=0, seconds=1.0, p50_us=1, p99_us=2, max_us=3)

    return Row(name=name, rounds=[Round(c1=load(1), c8=load(1), c64=load(one), cpu=None) for one in rps])


def test_ratios_compare_what_was_measured_in_the_same_round() -> None:
    assert (0.25, 0.5, 0.75) == ratio(row("ours", 100, 50, 300), row("ruler", 200, 200, 400))
