"""Those that speak to a server of Cloud Scheduler need Google's package; the plan needs none."""

from importlib.metadata import PackageNotFoundError, distribution


def installed() -> bool:
    try:
        distribution("google-cloud-scheduler")
    except PackageNotFoundError:
        return False
    return True


collect_ignore = [] if installed() else ["test_apply.py", "test_server.py", "test_ticks.py"]
