"""Schemathesis over our OpenAPI document, with all of its checks."""

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from services.router.openapi import OPERATIONS
from tests.conformance.installed import ROOT
from tests.conformance.judges import SCHEMATHESIS
from tests.conformance.site import MODEL, Site

MAIN = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
CONFIG = 'hooks = "tests.conformance.python.schemathesis_hooks"\n'
PHASES = {"coverage", "fuzzing", "stateful"}  # the fourth needs examples in the document


@pytest.mark.parametrize(
    ("examples", "seed"),
    [pytest.param(10, 1, marks=pytest.mark.slow)]
    + [pytest.param(100, seed, marks=pytest.mark.soak) for seed in (2, 3, 4)],
)
def test_schemathesis_finds_nothing(
    site: Site, judging: Path, tmp_path: Path, examples: int, seed: int
) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    checks = ("--checks", "all", "-H", f"Authorization: Bearer {site.key}")
    bounds = ("--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure")
    patient = ("--request-timeout", "90", "--suppress-health-check", "all")
    report = ("--report", "json", "--report-json-path", "report.json", "--no-color")
    ended = subprocess.run(
        [judging, "-P", "-c", MAIN, "run", f"{site.url}/openapi.json", *checks, *bounds, *patient, *report],
        cwd=tmp_path,
        env=site.environment(PYTHONPATH=str(ROOT), REQUEST=queued(site), RESPONSE=followed(site)),
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == ended.returncode, ended.stdout + ended.stderr
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["complete"]
    assert not any(told["warnings"].values()), told["warnings"]
    assert PHASES == {name for name, phase in told["phases"].items() if phase["status"] == "success"}
    assert len(OPERATIONS) == told["operations"]["tested"]
    assert SCHEMATHESIS.score == f"{told['test_cases']['unique_failures']} failures"


def queued(site: Site) -> str:
    """The id of a request that was queued."""
    told = asked(site, "requests", messages=[{"role": "user", "content": "Hi."}])
    return str(json.loads(told)["id"])


def followed(site: Site) -> str:
    """The id of a response in the background whose events were told."""
    told = asked(site, "responses", input="Hi.", background=True, stream=True)
    first = told.partition(b"data: ")[2].partition(b"\n")[0]
    return str(json.loads(first)["response"]["id"])


def asked(site: Site, path: str, **body: Any) -> bytes:
    """A whole answer."""
    headers = {"authorization": f"Bearer {site.key}", "content-type": "application/json"}
    call = Request(f"{site.url}/v1/{path}", json.dumps({"model": MODEL, **body}).encode(), headers)
    with urlopen(call, timeout=60) as answer:
        told: bytes = answer.read()
    return told
