"""CompatCanary's profile `modern`, which has to give all of its points."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.conformance.judges import COMPATCANARY
from tests.conformance.site import MODEL, Site

pytestmark = pytest.mark.slow


def test_compatcanary_gives_every_point(site: Site, modules: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    asked = ("--model", MODEL, "--profile", "modern", "--fail-on", "any", "--timeout", "60")
    told = ("--format", "json", "--output", str(report))
    ended = subprocess.run(
        ["node", str(modules / "compatcanary" / "src" / "cli.js"), "scan", *asked, *told],
        env=site.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert 0 == ended.returncode, ended.stdout + ended.stderr
    judged = json.loads(report.read_text())
    assert {"pass"} == {probe["status"] for probe in judged["results"]}, judged
    assert COMPATCANARY.score == f"{judged['score']} of 100"
