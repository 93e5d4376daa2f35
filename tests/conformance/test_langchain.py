"""LangChain's standard tests for chat models and embeddings."""

import subprocess
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conformance.installed import JUDGED, ROOT
from tests.conformance.judges import LANGCHAIN
from tests.conformance.site import Site

pytestmark = pytest.mark.slow


def test_langchains_standard_tests_pass(site: Site, judging: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    apart = (
        "-c",
        "/dev/null",
        "--rootdir",
        str(JUDGED),
        "--confcutdir",
        str(JUDGED),
        "-p",
        "no:cacheprovider",
    )
    asyncs = [
        "--asyncio-mode=auto",  # in one loop, because the clients of all tests share their connections
        *("-o", "asyncio_default_test_loop_scope=session"),
        *("-o", "asyncio_default_fixture_loop_scope=session"),
    ]
    ended = subprocess.run(
        [judging, "-P", "-m", "pytest", "-q", *apart, *asyncs, f"--junitxml={report}", "langchain_cases.py"],
        cwd=JUDGED,
        env=site.environment(PYTHONPATH=str(ROOT), LANGSMITH_TRACING="false"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert 0 == ended.returncode, ended.stdout + ended.stderr
    cases = {(case.attrib["classname"], case.attrib["name"]): case for case in _cases(report)}
    excluded = {name.partition("[")[0] for (_, name), case in cases.items() if len(case)}
    assert LANGCHAIN.excluded.keys() == excluded
    passed = Counter(bool(len(case)) for case in cases.values())
    assert LANGCHAIN.score == f"{passed[False]} of {passed[False]}, {passed[True]} excluded"


def _cases(report: Path) -> list[ElementTree.Element]:
    return list(ElementTree.parse(report).iter("testcase"))
