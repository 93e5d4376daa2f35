"""A million inputs, guided by what of the code they reach; docs/results/fuzz.json tells what came out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.install import install_lock, make_venv, python_of

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="atheris has packages for Linux only"),
]

ROOT = Path(__file__).parents[2]
INPUTS = 1_000_000


def test_a_million_inputs_break_no_rule(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    make_venv(venv, again=False)
    install_lock(venv, ROOT / "infra" / "locks" / "fuzz.txt", again=False)
    results = ROOT / "docs" / "results" / "fuzz.json"
    ended = subprocess.run(
        [python_of(venv), "-P", "-m", "tests.fuzz", "--inputs", str(INPUTS), "--results", results],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )

    assert 0 == ended.returncode
    assert INPUTS <= json.loads(results.read_text())["inputs"]
