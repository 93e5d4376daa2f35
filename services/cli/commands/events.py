"""`penstock events`."""

import click
import msgspec

from events.words import Unavailable
from services.cli import options, platform

COLOURS = {
    "inference": "cyan",
    "usage": "green",
    "job": "bright_black",
    "ingest": "yellow",
    "cache": "magenta",
    "fleet": "blue",
    "backup": "bright_blue",
}


@click.group()
def command() -> None:
    """Watch the system's conversation."""


@command.command()
@click.option("--type", "wanted", metavar="WORD", help="Only topics that contain this, such as usage.")
@click.option("--tenant", help="Only events of this tenant.")
@click.option("--subject", help="Only events about this id, such as a request's.")
@click.option("--count", type=click.IntRange(1), help="Stop after so many.")
@options.data_dir
@options.json_output
def tail(
    wanted: str | None,
    tenant: str | None,
    subject: str | None,
    count: int | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Print every event as it is published, until Ctrl-C. Prompts and answers are never in them."""
    there = platform.find(data_dir)
    shown = 0
    try:
        for line in there.stream("GET", "/admin/v1/events", b"", admin=True):
            if not line.strip():
                continue
            event = msgspec.json.decode(line)
            if not _matches(event, wanted, tenant, subject):
                continue
            click.echo(line.strip() if as_json else _line(event))
            shown += 1
            if shown == count:
                return
    except KeyboardInterrupt:
        click.echo()
        return
    raise Unavailable(f"The platform at {there.url} ended the conversation.")


def _matches(event: platform.Json, wanted: str | None, tenant: str | None, subject: str | None) -> bool:
    attributes = event["attributes"]
    return (
        (wanted is None or wanted in event["topic"])
        and (tenant is None or attributes.get("ce-tenant") == tenant)
        and (subject is None or attributes.get("ce-subject") == subject)
    )


def _line(event: platform.Json) -> str:
    attributes = event["attributes"]
    time = attributes.get("ce-time", "")[11:23]
    topic = click.style(f"{event['topic']:<26}", fg=COLOURS.get(event["topic"].split("-")[0]))
    source = click.style(f"{attributes.get('ce-source', ''):<22}", dim=True)
    return f"{time} {topic} {source} {attributes.get('ce-subject', '')} {_facts(event['data'])}".rstrip()


def _facts(data: object) -> str:
    """The short fields of an event; of a page of records, how many of which kind."""
    if not isinstance(data, dict):
        return str(data)
    records = data.get("records")
    if isinstance(records, list):
        kinds = [record["kind"] for record in records]
        return " ".join(f"{kind}={kinds.count(kind)}" for kind in dict.fromkeys(kinds))
    hidden = {"request_id", "tenant", "job"}
    return " ".join(f"{name}={value}" for name, value in data.items() if name not in hidden)
