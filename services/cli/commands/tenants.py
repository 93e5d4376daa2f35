"""`penstock tenants`."""

from urllib.parse import quote

import click
import msgspec

from services.cli import options, platform, show
from services.cli.entered import a_line

COLUMNS = {
    "id": "TENANT",
    "name": "NAME",
    "cache": "CACHE",
    "may_leave": "MAY LEAVE",
    "created_at": "CREATED",
}


class Enabled(msgspec.Struct):
    """What a tenant's apps publish to, and the key they act as."""

    tenant: str
    topic: str
    key: str


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


@command.command("set")
@click.argument("tenant", callback=a_line)
@click.option(
    "--cache",
    type=click.Choice(["on", "off"]),
    help="Whether answers are kept, and given again to who asks exactly the same.",
)
@click.option(
    "--may-leave",
    type=click.Choice(["on", "off"]),
    help="Whether prompts may go to hosted backends, outside your own machines.",
)
@options.data_dir
@options.json_output
def set_tenant(
    tenant: str, cache: str | None, may_leave: str | None, data_dir: str | None, as_json: bool
) -> None:
    """Change the tenant with the id TENANT; routers go by it within ten seconds.

    With --cache on, answers made at temperature 0 or with a seed are kept for an hour, or as long as the
    model's cache_ttl_s says, sealed under the tenant's key. A caller who sends x-penstock-cache: on has any
    answer kept. Turned off, nothing that was kept is given; turned on again, what is not too old is.
    """
    wanted = {name: to for name, to in (("cache", cache), ("may_leave", may_leave)) if to is not None}
    if not wanted:
        raise click.UsageError("Say what to set: --cache or --may-leave.")
    changed = platform.find(data_dir).admin("POST", f"/tenants/{quote(tenant, safe='')}", wanted)
    if as_json:
        show.as_json(changed.read(platform.Json))
        return
    name = changed.read(platform.Named).id
    if cache is not None:
        click.echo(f"The cache is {cache} for {name}.")
    if may_leave is not None:
        click.echo(f"Prompts of {name} {'may leave' if may_leave == 'on' else 'stay inside'}.")


@command.command("enable-ingest")
@click.argument("tenant", callback=a_line)
@click.option(
    "--project", envvar="GOOGLE_CLOUD_PROJECT", show_envvar=True, help="Also make the topics in this project."
)
@click.option("--push", metavar="URL", help="Where the request function takes pushes; needed with --project.")
@click.option("--service-account", default="", help="Whose token the pushes carry.")
@click.option(
    "--server",
    envvar="PUBSUB_EMULATOR_HOST",
    show_envvar=True,
    metavar="HOST:PORT",
    help="An emulator that stands in for Pub/Sub.",
)
@options.data_dir
@options.json_output
def enable_ingest(
    tenant: str,
    project: str | None,
    push: str | None,
    service_account: str,
    server: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Let the apps of TENANT publish requests on a topic of their own.

    What they publish acts as a key of that topic: it is listed, and revoked, like any other. On one machine
    that is all; on Google Cloud --project and --push make the topic and its subscription, and a topic for
    the answers that are asked for there, by your own Google identity. Who may publish to the one and
    subscribe to the other is for IAM to say.
    """
    if project and not push:
        raise click.UsageError("--project needs --push URL: where the request function takes pushes.")
    made = platform.find(data_dir).admin("POST", f"/tenants/{quote(tenant, safe='')}/enable-ingest", {})
    enabled = made.read(Enabled)
    if project and push:
        from services.runtime import cloud_topics  # noqa: PLC0415  (Google's client takes a second)

        place = cloud_topics.place_of(project, server)
        cloud_topics.enable_ingest(place, enabled.tenant, push, service_account)
    if as_json:
        show.as_json(made.read(platform.Json))
    else:
        click.echo(
            f"Apps of {enabled.tenant} publish to {enabled.topic}; revoke that by: "
            f"penstock keys revoke {enabled.key}"
        )


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
