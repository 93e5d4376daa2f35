"""Tables: what is never folded, what a pipe gets, and text that only looks like markup."""

from collections.abc import Callable

import click
import pytest
from rich.cells import cell_len

from services.cli import show
from services.cli.commands import keys, usage

ROW = {
    "day": "2026-11-03",
    "tenant": "default",
    "key": "key_0123456789ab",
    "model": "hf.co/bartowski/gemma-3-4b-it-GGUF:Q4_K_M",
    "requests": 12_345,
    "input_tokens": 12_345_678,
    "output_tokens": 1_234_567,
    "estimated_tokens": 4_321,
}

Printed = Callable[..., list[str]]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Printed:
    """The lines of a table on a terminal so many columns wide."""

    def printed(columns: int, *arguments: object, **options: object) -> list[str]:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(columns))
        show.as_table(*arguments, **options)  # type: ignore[arg-type]
        return [click.unstyle(line).rstrip() for line in capsys.readouterr().out.splitlines()]

    return printed


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Printed:
    """The lines of a table in a pipe."""

    def printed(*arguments: object, **options: object) -> list[str]:
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        monkeypatch.setenv("COLUMNS", "20")
        show.as_table(*arguments, **options)  # type: ignore[arg-type]
        return capsys.readouterr().out.splitlines()

    return printed


def usages(row: dict[str, object], **more: object) -> tuple[list[dict[str, object]], dict[str, str]]:
    return [row | more], usage.COLUMNS


@pytest.mark.parametrize("columns", [20, 40, 80, 100])
def test_numbers_dates_and_ids_are_never_in_pieces(terminal: Printed, columns: int) -> None:
    printed = terminal(columns, *usages(ROW), empty="", folds=("model",))

    for whole in ("2026-11-03", "key_0123456789ab", "12,345", "12,345,678", "1,234,567", "4,321"):
        assert whole in printed[1]
    assert all(heading in printed[0] for heading in usage.COLUMNS.values())
    model = printed[0].index("MODEL")
    assert ROW["model"] == "".join(line[model:].split()[0] for line in printed[1:])


def test_a_line_of_usage_fits_an_ordinary_terminal(terminal: Printed) -> None:
    printed = terminal(80, *usages(ROW, model="gemma-3-4b-it"), empty="", folds=("model",))

    assert max(map(len, printed)) <= 80


def test_a_table_fits_a_wide_terminal_without_folding(terminal: Printed) -> None:
    printed = terminal(200, *usages(ROW), empty="", folds=("model",))

    assert 2 == len(printed)
    assert str(ROW["model"]) in printed[1]


def test_a_pipe_gets_the_width_it_needs(pipe: Printed) -> None:
    name = "Everything that the whole department does on this machine"
    printed = pipe([{"id": "a", "name": name}], {"id": "KEY", "name": "NAME"}, empty="", folds=("name",))

    assert ["KEY  NAME", f"a    {name}"] == printed


NAMES = ["[/b]", "[red]x", "[link=http://a]b[/link]", ":smile:", "[[", "\\[bold]", "日本語"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are(pipe: Printed, name: str) -> None:
    columns = {"name": "NAME", "n": "N"}
    printed = pipe([{"name": name, "n": 1}], columns, empty="", folds=("name",))

    assert f"{name}{' ' * (max(cell_len(name), 4) - cell_len(name))}  1" == printed[1]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are_on_a_terminal(terminal: Printed, name: str) -> None:
    assert [name, "NAME"] == terminal(80, [{"name": name}], {"name": "NAME"}, empty="")[::-1]


def test_what_a_terminal_would_obey_is_not_shown(pipe: Printed) -> None:
    assert ["NAME", "a\ufffd[31mb\ufffdc"] == pipe([{"name": "a\x1b[31mb\nc"}], {"name": "NAME"}, empty="")


def test_odd_values_are_shown_somehow(pipe: Printed) -> None:
    rows = [{"id": None, "created_at": "2026-11-03T12:01:02.5Z"}, {"id": [1], "created_at": {"a": 1}}, {}]
    printed = pipe(rows, {"id": "KEY", "created_at": "CREATED"}, empty="")

    assert ["KEY  CREATED", "-    2026-11-03 12:01", "[1]  {'a': 1}", "-    -"] == printed


def test_an_empty_table_says_so(pipe: Printed) -> None:
    assert ["No keys."] == pipe([], keys.COLUMNS, empty="No keys.")
