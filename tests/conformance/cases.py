"""Cases in the judges' environment, run by a pytest of their own."""

import subprocess
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from tests.conformance.installed import JUDGED, ROOT
from tests.conformance.site import Site

APART = ("-c", "/dev/null", "--rootdir", str(JUDGED), "--confcutdir", str(JUDGED), "-p", "no:cacheprovider")
ASYNC = (
    "--asyncio-mode=auto",  # in one loop, because the clients of all tests share their connections
    *("-o", "asyncio_default_test_loop_scope=session"),
    *("-o", "asyncio_default_fixture_loop_scope=session"),
)


class Judged(NamedTuple):
    """How many cases passed, and which were not judged, by the names of their tests."""

    passed: int
    left_out: list[str]


def judge(judging: Path, site: Site, name: str, report: Path) -> Judged:
    """Runs a file of cases; fails where one of them does."""
    ended = subprocess.run(
        [judging, "-P", "-m", "pytest", "-q", *APART, *ASYNC, f"--junitxml={report}", name],
        cwd=JUDGED,
        env=site.environment(PYTHONPATH=str(ROOT), LANGSMITH_TRACING="false"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert 0 == ended.returncode, ended.stdout + ended.stderr
    cases = list(ElementTree.parse(report).iter("testcase"))
    left_out = [case.attrib["name"].partition("[")[0] for case in cases if len(case)]
    return Judged(passed=len(cases) - len(left_out), left_out=left_out)
