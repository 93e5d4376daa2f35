import json
import re
from pathlib import Path

import pytest

LOCKS = Path(__file__).parents[2] / "infra" / "locks"
NAMES = ("base", "test", "dev", "all", "cloud", "console", "otel", "fuzz", "conformance")

NODE_LOCK = Path(__file__).parents[1] / "conformance" / "node" / "package-lock.json"

REQUIREMENT = re.compile(
    r"(?P<pin>[a-z0-9]+(?:[._-][a-z0-9]+)*==[^\s;]+)(?: ; [^\\\n]+)?"  # name, version, marker
    r"(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n"
)


def text(name: str) -> str:
    return (LOCKS / f"{name}.txt").read_text(encoding="utf-8")


def pins(name: str) -> set[str]:
    return {match["pin"] for match in REQUIREMENT.finditer(text(name))}


def test_there_are_no_other_locks() -> None:
    assert {*NAMES} == {path.stem for path in LOCKS.glob("*.txt")}


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_holds_nothing_but_pinned_and_hashed_requirements(name: str) -> None:
    assert "" == REQUIREMENT.sub("", text(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_names_no_address(name: str) -> None:
    assert "://" not in text(name)
    assert "index-url" not in text(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_set_holds_the_base_at_the_same_versions(name: str) -> None:
    assert pins("base") <= pins(name)


def test_the_development_set_can_run_and_judge_the_tests() -> None:
    assert pins("test") <= pins("dev")
    tools = {pin.partition("==")[0] for pin in pins("dev")}
    assert {"hatchling", "import-linter", "mypy", "pytest", "ruff"} <= tools


def test_the_lock_of_nodes_packages_hashes_everything_and_names_no_address() -> None:
    told = NODE_LOCK.read_text(encoding="utf-8")
    packages = {name: row for name, row in json.loads(told)["packages"].items() if name}
    assert packages
    assert all(row["integrity"].startswith("sha512-") for row in packages.values())
    assert "resolved" not in told
    assert "://" not in told
