"""Sizes and shapes: short functions, short files, packages where they are needed, what a folder says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, modules, parsed, shown

LONGEST_FUNCTION = 60
LONGEST_FILE = 400

# Files that may be longer, each with the reason.
LONG_FILES: dict[str, str] = {}

PRODUCT = modules("events", "functions", "services")
PURE = modules("events", "functions")
AROUND = modules("tests", "infra")
ALL = [*PRODUCT, *AROUND]
RELATIVE = re.compile(r"^\s*from\s*\.", re.MULTILINE)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize(
    "files", [PRODUCT, pytest.param(AROUND, marks=pytest.mark.slow)], ids=["ours", "around"]
)
def test_functions_are_short(files: list[Path]) -> None:
    long = [
        f"{shown(path)}: {function.name} has {lines_of(function)} lines"
        for path in files
        for function in functions(parsed(path))
        if lines_of(function) > LONGEST_FUNCTION
    ]
    assert [] == long


def test_files_are_short_or_have_a_reason() -> None:
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in ALL}
    assert LONG_FILES.keys() == {name for name, lines in lengths.items() if lines > LONGEST_FILE}


def test_imports_are_absolute() -> None:
    # A relative import loads a second copy of a module that was started by its file name.
    relative = [shown(path) for path in ALL if RELATIVE.search(path.read_text(encoding="utf-8"))]
    assert [] == relative


def test_every_folder_with_code_is_a_package() -> None:
    # Of two folders of one name, say functions and tests/functions, one would hide the other.
    folders = {path.parent for path in ALL}
    assert [] == sorted(shown(folder) for folder in folders if not (folder / "__init__.py").exists())


@pytest.mark.parametrize("name", sorted(path.parent.name for path in ROOT.glob("functions/*/__init__.py")))
def test_every_function_says_what_it_consumes_emits_and_promises(name: str) -> None:
    told = ast.get_docstring(parsed(ROOT / "functions" / name / "__init__.py")) or ""
    said = [line.partition(":")[0] for line in told.splitlines() if not line.startswith(" ")]
    assert ["consumes", "emits", "promises"] == said


def test_events_and_functions_read_no_clock() -> None:
    # Imports cannot tell: datetime is needed for its values.
    read = [
        f"{shown(path)}:{node.lineno}"
        for path in PURE
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}
    ]
    assert [] == read
