"""What all tests share: how async tests run, how long properties may take, and that CI skips nothing."""

import os

import pytest
from hypothesis import settings

# A slow machine is no reason to fail: properties are bounded by their number of examples.
settings.register_profile("penstock", deadline=None)
settings.load_profile("penstock")

IN_CI = os.environ.get("CI") == "true"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in CI which tests were skipped, and that this is a failure."""
    for report in terminalreporter.getreports("skipped") if IN_CI else ():
        terminalreporter.write_line(f"CI skips nothing, but skipped {report.nodeid}", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails the run in CI where a test was skipped: what was not run proved nothing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a worker of a parallel run; its controller judges
        return
    if IN_CI and session.exitstatus == pytest.ExitCode.OK and reporter.getreports("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
