"""How commands print: tables for people, JSON for scripts."""

import re
from collections.abc import Mapping, Sequence

import click
import msgspec

TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")  # UTC, shown to the minute

Row = Mapping[str, object]


def as_json(content: object) -> None:
    """One JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(content)).decode())


def as_table(rows: Sequence[Row], columns: Mapping[str, str], *, empty: str) -> None:
    """A table; `columns` maps fields to headings, and numbers stand on the right."""
    from rich.console import Console  # noqa: PLC0415  (slow to import, and --json needs none of it)
    from rich.table import Table  # noqa: PLC0415

    if not rows:
        click.echo(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for field, heading in columns.items():
        numeric = all(isinstance(row.get(field), int) for row in rows)
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold", min_width=4)
    for row in rows:
        table.add_row(*(_cell(row.get(field)) for field in columns))
    Console().print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    return f"{text[:10]} {text[11:16]}" if TIME.fullmatch(text) else text
