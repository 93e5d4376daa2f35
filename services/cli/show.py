"""How commands print: tables for people, JSON for scripts."""

import re
from collections.abc import Collection, Mapping, Sequence

import click
import msgspec

TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")  # UTC, shown to the minute
FOLDED = 8  # how narrow a column may become that folds

Row = Mapping[str, object]


def as_json(content: object) -> None:
    """One JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(content)).decode())


def as_table(
    rows: Sequence[Row], columns: Mapping[str, str], *, empty: str, folds: Collection[str] = ()
) -> None:
    """A table; `columns` maps fields to headings, and numbers stand on the right.

    On a terminal that is too narrow only the columns in `folds` become narrower, the others never: an
    id or a number in pieces helps nobody. In a pipe all have the width they need.
    """
    from rich.cells import cell_len  # noqa: PLC0415  (slow to import, and --json needs none of it)
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if not rows:
        click.echo(empty)
        return
    console = Console()
    narrow = console.width if console.is_terminal else None
    cells = {field: [_cell(row.get(field)) for row in rows] for field in columns}
    widths = {field: max(map(cell_len, (columns[field], *texts))) for field, texts in cells.items()}
    gaps = len(columns) - 1
    gap = 2 if narrow is None or sum(widths.values()) + 2 * gaps <= narrow else 1
    if narrow is not None:
        widths |= {field: min(widths[field], FOLDED) for field in folds}
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for field, heading in columns.items():
        table.add_column(
            heading,
            justify="right" if all(isinstance(row.get(field), int) for row in rows) else "left",
            no_wrap=narrow is None or field not in folds,
            overflow="fold",
            min_width=widths[field],
        )
    for texts in zip(*cells.values(), strict=True):
        table.add_row(*map(Text, texts))
    console.width = max(sum(widths.values()) + gap * gaps, narrow or 0)
    with console.capture() as printed:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))


def plain(text: str) -> str:
    """Text from elsewhere without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return minute(str(value))


def minute(text: str) -> str:
    """A time, shown to the minute; any other text as it is."""
    return f"{text[:10]} {text[11:16]}" if TIME.fullmatch(text) else plain(text)
