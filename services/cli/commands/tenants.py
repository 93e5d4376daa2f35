"""`penstock tenants`."""

import click

from services.cli import options, platform, show
from services.cli.entered import a_line

COLUMNS = {"id": "TENANT", "name": "NAME", "created_at": "CREATED"}


@click.group()
def command() -> None:
    """Make and list tenants: those who pay, each with their own keys, usage and data key."""


@command.command()
@click.argument("tenant", callback=a_line)
@click.option("--name", default="", help="What people call it.")
@options.data_dir
@options.json_output
def create(tenant: str, name: str, data_dir: str | None, as_json: bool) -> None:
    """Make the tenant with the id TENANT (lower-case letters, digits, dashes)."""
    made = platform.find(data_dir).admin("POST", "/tenants", {"id": tenant, "name": name})
    if as_json:
        show.as_json(made.read(platform.Json))
    else:
        there = made.read(platform.Named).id
        click.echo(f"{there} is there. Give it a key: penstock keys create --tenant {there}")


@command.command("list")
@options.data_dir
@options.json_output
def list_tenants(data_dir: str | None, as_json: bool) -> None:
    """List all tenants."""
    found = platform.find(data_dir).rows("/tenants")
    if as_json:
        show.as_json(found)
    else:
        show.as_table(found, COLUMNS, empty="No tenants.", folds=("name",))
