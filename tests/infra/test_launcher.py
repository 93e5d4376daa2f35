"""What the launcher promises before it installs anything."""

import ast
import os
import subprocess
import sys

from tests.infra.launcher import ROOT

LAUNCHER = ROOT / "penstock"

AS_IF_OLD = """
import sys
sys.version_info = (3, 8, 1)
exec(compile(open(sys.argv[1]).read(), "penstock", "exec"))
"""


def test_an_old_python_is_told_what_is_needed() -> None:
    command = [sys.executable, "-c", AS_IF_OLD, str(LAUNCHER)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert 1 == ended.returncode
    assert ended.stderr.startswith("Penstock needs Python 3.11 or newer; this is 3.8 ")
    assert 1 == len(ended.stderr.splitlines())


def test_an_old_python_can_read_the_launcher() -> None:
    ast.parse(LAUNCHER.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_the_launcher_and_the_scripts_can_be_run() -> None:
    for script in ("penstock", ".ci/run", "infra/locks/compile"):
        assert os.access(ROOT / script, os.X_OK), script
