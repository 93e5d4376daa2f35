"""Writes the table of figures in `docs/observability.md` from the one that is exported."""

from pathlib import Path

from services.telemetry.figures import FIGURES, Figure

PATH = "docs/observability.md"
BEGIN = "<!-- figures: made by `python -m services.cli.export` from services/telemetry/figures.py -->\n"
END = "<!-- end of figures -->\n"


def observability(root: Path) -> str:
    """The page with its table as it should be; everything else is as somebody wrote it."""
    text = (root / PATH).read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def table() -> str:
    """A row for each figure."""
    head = "| at Prometheus | over OTLP | told by | what it is |\n| --- | --- | --- | --- |\n"
    return head + "".join(map(_row, FIGURES))


def _row(figure: Figure) -> str:
    suffix = {"counter": "_total", "gauge": "", "histogram": "_bucket"}[figure.kind]
    unit = f", {figure.unit}" if figure.unit else ""
    labels = ", ".join(f"`{label}`" for label in figure.labels)
    name = f"`{figure.name}` ({figure.kind}{unit})"
    return f"| `{figure.prometheus}{suffix}` | {name} | {labels} | {figure.meaning} |\n"
