"""Which Penstock this is, wherever its packages lie."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.ours import ROOT
from services.runtime.version import version

ASK = "from services.runtime.version import version; print(version())"


def test_a_repository_knows_its_version() -> None:
    assert version()[0].isdigit()


@pytest.mark.slow
def test_packages_that_were_copied_alone_do_not(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "services" / "runtime", tmp_path / "services" / "runtime")
    shutil.copy(ROOT / "services" / "__init__.py", tmp_path / "services")
    told = subprocess.check_output(
        [sys.executable, "-P", "-c", ASK], env=os.environ | {"PYTHONPATH": str(tmp_path)}, text=True
    )

    assert "unknown\n" == told
