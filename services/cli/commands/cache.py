"""`penstock cache`."""

import click

from services.cli import options, platform, show
from services.cli.entered import a_line


@click.group()
def command() -> None:
    """Purge cached answers. Who has them is set by tenant: penstock tenants set TENANT --cache on."""


@command.command()
@click.option("--tenant", callback=a_line, help="Those of the tenant with this id.")
@click.option("--model", callback=a_line, help="Those of the model callers name so.")
@click.option("--key", callback=a_line, help="The one with this key: an answer's cache-status tells it.")
@options.data_dir
@options.json_output
def purge(
    tenant: str | None, model: str | None, key: str | None, data_dir: str | None, as_json: bool
) -> None:
    """Have answers made anew: those of a tenant, of a model, or one. Name one of the three.

    No router gives them any more after ten seconds at most; then they are deleted.
    """
    named = {"tenant": tenant, "model": model, "key": key}
    given = {what: name for what, name in named.items() if name is not None}
    if len(given) != 1:
        raise click.UsageError("Name one of --tenant, --model and --key.")
    purged = platform.find(data_dir).admin("POST", "/cache/purge", given).read(platform.Json)
    if as_json:
        show.as_json(purged)
    else:
        ((what, name),) = given.items()
        click.echo(f"Nothing cached for the {what} {name} is given after {purged['effective_within_s']} s.")
