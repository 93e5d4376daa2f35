"""What is looked at with Google's clients can be looked at only where they are installed."""

from tests.cloud.topology.parts import lacking

collect_ignore_glob = ["test_*.py"] if lacking() else []
