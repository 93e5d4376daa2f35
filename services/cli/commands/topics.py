"""`penstock topics`."""

import click

from services.cli import options, show

STEPS = {"verb": "STEP", "kind": "KIND", "name": "NAME", "detail": "WHAT DIFFERS"}


@click.group()
def command() -> None:
    """Make the topics and subscriptions of this release in Google Cloud Pub/Sub.

    They follow from one catalogue (docs/events.md): every event and job has a topic, every consumer a
    subscription with its retries and its dead letter.
    """


def _pairs(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, is_pair, url = text.partition("=")
        if not (name and is_pair and url.startswith(("http://", "https://"))):
            raise click.BadParameter(f"{text!r} is not NAME=URL.", context, parameter)
        pairs[name] = url
    return pairs


@command.command()
@options.project
@click.option(
    "--push",
    multiple=True,
    metavar="NAME=URL",
    callback=_pairs,
    help="Where a function takes pushes, such as metering=https://metering-x.a.run.app. Once for each.",
)
@click.option("--service-account", default="", help="Whose token the pushes carry.")
@click.option(
    "--tenant",
    "tenants",
    multiple=True,
    help="A tenant that has topics for requests and answers. Once for each.",
)
@click.option("--dead-letters-kept", type=click.IntRange(1, 31), default=31, help="In days [default: 31].")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "--server",
    envvar="PUBSUB_EMULATOR_HOST",
    show_envvar=True,
    metavar="HOST:PORT",
    help="An emulator that stands in for Pub/Sub.",
)
@options.json_output
def apply(
    project: str,
    push: dict[str, str],
    service_account: str,
    tenants: tuple[str, ...],
    dead_letters_kept: int,
    dry_run: bool,
    server: str | None,
    as_json: bool,
) -> None:
    """Create what is missing and update what differs, as often as you like.

    It deletes nothing: what is marked as Penstock's but is not of this release is listed as unknown. Look
    first with --dry-run. No platform has to run; the command acts as your own Google identity.
    """
    from services.runtime import cloud_topics  # noqa: PLC0415  (Google's client takes a second)

    wish = cloud_topics.Wish(
        push=push,
        tenants=tenants,
        service_account=service_account,
        kept_days=dead_letters_kept,
    )
    steps = cloud_topics.apply(cloud_topics.place_of(project, server), wish, dry_run=dry_run)
    rows = [{name: getattr(step, name) for name in STEPS} for step in steps]
    if as_json:
        show.as_json(rows)
        return
    show.as_table(rows, STEPS, empty="There are no topics.", folds=("detail",))
    if dry_run:
        click.echo("Nothing was changed: this was a dry run.", err=True)
