"""What all tests share: how async tests run, how long properties may take, and that CI skips nothing."""

import gc
import os
from collections import Counter

import pytest
from hypothesis import settings

# A slow machine is no reason to fail: properties are bounded by their number of examples.
settings.register_profile("quick", deadline=None, max_examples=10)
settings.register_profile("thorough", deadline=None)
settings.load_profile("quick")

gc.disable()  # until all is collected: of what that makes nothing is garbage

IN_CI = os.environ.get("CI") == "true"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def pytest_collection_finish() -> None:
    """From here on there is garbage; the thousands of tests themselves are not looked through for it."""
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what this machine lacks, a line each; in CI also which tests were skipped: that is a failure."""
    skipped = terminalreporter.getreports("skipped")
    for reason, count in Counter(map(reason_of, skipped)).items():
        terminalreporter.write_line(f"skipped {count}: {reason}", yellow=True)
    for report in skipped if IN_CI else ():
        terminalreporter.write_line(f"CI skips nothing, but skipped {report.nodeid}", red=True)


def reason_of(report: pytest.TestReport) -> str:
    """Why a test was skipped."""
    _, _, told = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, str(report.longrepr))
    return told.removeprefix("Skipped: ")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails the run in CI where a test was skipped: what was not run proved nothing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a worker of a parallel run; its controller judges
        return
    if IN_CI and session.exitstatus == pytest.ExitCode.OK and reporter.getreports("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
