"""`python -m tests.cost`."""

import asyncio
import os
import sys

import click
import msgspec

from services.adapters.emulators import FIRESTORE, PUBSUB, missing
from tests.cost.plan import FULL, QUICK, carry_out
from tests.cost.report import document


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="A little of everything: it proves, it does not measure.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line with everything that was counted.")
def command(quick: bool, as_json: bool) -> None:
    """Count what requests cost on Google's services, and price it.

    It starts a cloud platform on Google's emulators, every part a process of its own, and counts at the
    edge of each process: documents read, written and deleted, messages and bytes. Prices are list prices
    with their date. Where a request or a record is missing, the row says so, and the exit status is 1.

    \b
    python -m tests.cost            everything, about eight minutes
    python -m tests.cost --quick    does it work? about a minute
    """
    for kind in (FIRESTORE, PUBSUB):
        if lacking := missing(kind):
            raise click.ClickException(lacking)
    for name in [name for name in os.environ if name.startswith("PENSTOCK_")]:
        del os.environ[name]  # what was set for a platform of the caller's own
    run = asyncio.run(carry_out(QUICK if quick else FULL, lambda line: click.echo(line, err=True)))
    click.echo(msgspec.json.encode(run) if as_json else document(run))
    sys.exit(1 if any(row.problems for row in (*run.synchronous, *run.queued)) else 0)


if __name__ == "__main__":
    command()
