"""`penstock usage`."""

from urllib.parse import urlencode

import click

from services.cli import options, platform, show
from services.cli.entered import a_line

COLUMNS = {
    "day": "DAY (UTC)",
    "tenant": "TENANT",
    "key": "KEY",
    "model": "MODEL",
    "requests": "REQUESTS",
    "input_tokens": "INPUT",
    "output_tokens": "OUTPUT",
    "estimated_tokens": "EST.",
}


@click.command()
@click.option("--tenant", callback=a_line, help="Only this tenant.")
@click.option("--key", callback=a_line, help="Only this key (its id).")
@click.option("--model", callback=a_line, help="Only this model.")
@click.option("--since", metavar="DAY", help="From this day on, like 2026-11-01.")
@click.option("--until", metavar="DAY", help="Up to this day, included.")
@options.data_dir
@options.json_output
def command(data_dir: str | None, as_json: bool, **filters: str | None) -> None:
    """Show tokens by tenant, key, model and day.

    Every answered request is counted once. Tokens no engine counted (a crash, a client that left) are
    estimated; how many of a line's tokens are, EST. says. Figures are a second or so behind.
    """
    query = urlencode({name: value for name, value in filters.items() if value})
    found = platform.find(data_dir).rows(f"/usage?{query}")
    if as_json:
        show.as_json(found)
    else:
        show.as_table(found, COLUMNS, empty="No usage yet.", folds=("model",))
