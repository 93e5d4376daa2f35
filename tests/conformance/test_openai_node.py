"""OpenAI's client for Node, the real one, on every endpoint that is claimed."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conformance.installed import NODE
from tests.conformance.judges import OPENAI_NODE
from tests.conformance.site import Site, uncalled

pytestmark = pytest.mark.slow


def test_every_endpoint_serves_openais_client_for_node(site: Site, modules: Path) -> None:
    ended = subprocess.run(
        ["node", "--test-reporter=tap", "--test", str(NODE / "openai_node.cjs")],
        env=site.environment(NODE_PATH=str(modules)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert set() == uncalled(json.loads(_told(r"called: (.+)", ended.stdout)))
    passed, tests = _told(r"pass (\d+)", ended.stdout), _told(r"tests (\d+)", ended.stdout)
    assert OPENAI_NODE.score == f"{passed} of {tests}"


def _told(pattern: str, text: str) -> str:
    (found,) = re.findall(rf"^# {pattern}$", text, re.MULTILINE)
    return str(found)
