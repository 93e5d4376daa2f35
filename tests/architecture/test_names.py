"""`events`, `functions` and `services` are plain words: nobody else may own them here."""

import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.architecture.source import ROOT

NAMES = ["events", "functions", "services"]


@pytest.mark.parametrize("name", NAMES)
def test_only_our_distribution_owns_our_names(name: str) -> None:
    assert set(packages_distributions().get(name, ())) <= {"penstock"}


def test_the_wheel_holds_the_three_packages_and_is_never_uploaded() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert NAMES == project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert "Private :: Do Not Upload" in project["project"]["classifiers"]
