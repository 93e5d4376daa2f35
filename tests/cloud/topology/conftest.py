"""One platform of several processes for all tests of this folder, on Google's emulators."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.topology.parts import Parts, lacking
from tests.support import command

if not lacking():
    from tests.cloud.topology.platform import Platform

collect_ignore_glob = ["test_*.py"] if lacking() else []


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("topology")
    with (
        command.up(folder, "--emulators", PENSTOCK_JOB_EVERY_S="2", PENSTOCK_USAGE_LINGER_S="0.1") as up,
        pytest.MonkeyPatch.context() as patch,
    ):
        parts = Parts(up.process.child.pid, up.first_line["parts"])
        patch.setenv("PUBSUB_EMULATOR_HOST", parts.pubsub)  # as an app on a developer's machine has it
        running = Platform(up, parts)
        try:
            yield running
        finally:
            running.close()
            up.process.stop(signal.SIGTERM)
