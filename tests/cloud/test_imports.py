"""On one machine nothing of Google's is imported: it takes a second, and need not be installed."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LOOK = """
import sys
import services.runtime.local, services.cli.main
# Namespaces without a file are made when Python starts, by what is installed.
loaded = [name for name, module in sys.modules.items() if getattr(module, "__file__", None)]
print(sorted(name for name in loaded if name.partition(".")[0] in ("google", "grpc")))
"""


@pytest.mark.slow
def test_the_embedded_platform_imports_nothing_of_google() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ("[]", "") == (ended.stdout.strip(), ended.stderr)
