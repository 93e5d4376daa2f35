"""What a machine is told that can neither have Ollama nor build it."""

import os
import subprocess
import sys
from pathlib import Path


def test_what_is_missing_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    bare = os.environ | {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    told = subprocess.run(
        [sys.executable, "-m", "tests.ollama.build"],
        cwd=Path(__file__).parents[2],
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == told.returncode
    assert "go (install Go 1.24 or newer)" in told.stderr
    assert "g++ (apt install g++)" in told.stderr
    assert 1 == len(told.stderr.splitlines())
