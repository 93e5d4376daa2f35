"""Which Penstock this is."""

import tomllib
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path


def version() -> str:
    """The installed distribution's version; in a repository, the one it declares."""
    try:
        return installed("penstock")
    except PackageNotFoundError:
        declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
        return str(declared["project"]["version"])
