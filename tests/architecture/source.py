"""The repository as its architecture tests see it."""

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Folders that are made, not written; of hidden ones, only those that hold text of our own are looked into.
_MADE = frozenset({"__pycache__", "dist", "node_modules"})
_WRITTEN = frozenset({".ci", ".github"})


def modules(*folders: str) -> list[Path]:
    """Every Python file below these folders."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def written_files() -> Iterator[Path]:
    """Every file somebody wrote, or had written to commit it."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name in _WRITTEN or (name[0] != "." and name not in _MADE)]
        yield from (Path(folder, name) for name in names)


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_bytes(), str(path))


def shown(path: Path) -> str:
    """A path as people write it."""
    return path.relative_to(ROOT).as_posix()
