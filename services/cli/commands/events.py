"""`penstock events`."""

from urllib.parse import quote

import click
import msgspec

from events.words import Unavailable
from services.cli import options, platform, show
from services.cli.entered import a_line

COLOURS = {
    "inference": "cyan",
    "answer": "bright_cyan",
    "usage": "green",
    "job": "bright_black",
    "ingest": "yellow",
    "cache": "magenta",
    "fleet": "blue",
    "backup": "bright_blue",
}


class _Event(msgspec.Struct):
    topic: str
    attributes: dict[str, str]
    data: object


class _DeadLetter(msgspec.Struct):
    id: str
    subscription: str
    reason: str
    dead_at: str
    attempts: int
    subject: str = ""
    tenant: str = ""


class _DeadLetters(msgspec.Struct):
    data: list[_DeadLetter]


@click.group()
def command() -> None:
    """Watch the system's conversation, and see to what nobody could handle."""


@command.command()
@click.option("--type", "wanted", callback=a_line, metavar="WORD", help="Only topics that contain this.")
@click.option("--tenant", callback=a_line, help="Only events of this tenant.")
@click.option("--subject", callback=a_line, help="Only events about this id, such as a request's.")
@click.option("--count", type=click.IntRange(1), help="Stop after so many.")
@options.data_dir
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each, for scripts.")
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
            event = platform.read(line, _Event, there.url)
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


@command.command()
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many."
)
@options.data_dir
@options.json_output
def dead(limit: int, data_dir: str | None, as_json: bool) -> None:
    """List messages that were given up, and why.

    A message becomes a dead letter when nobody can handle it, or when it failed as often as it may.
    Mend what is wrong, then have it delivered again with `penstock events replay ID`. After 31 days it
    is forgotten. The newest come first. What they carry is never shown.
    """
    answer = platform.find(data_dir).admin("GET", f"/dead-letters?limit={limit}")
    if as_json:
        show.as_json(answer.read(platform.Rows).data)
        return
    letters = answer.read(_DeadLetters).data
    click.echo("\n\n".join(map(_dead_letter, letters)) or "No dead letters.")


@command.command()
@click.argument("dead_letter", metavar="ID", callback=a_line)
@options.data_dir
@options.json_output
def replay(dead_letter: str, data_dir: str | None, as_json: bool) -> None:
    """Deliver the dead letter ID again.

    ID is the one `penstock events dead` shows. The message comes as if it were new, with all its
    attempts before it; should it fail again, it ends as another dead letter.
    """
    path = f"/dead-letters/{quote(dead_letter, safe='')}/replay"
    replayed = platform.find(data_dir).admin("POST", path)
    if as_json:
        show.as_json(replayed.read(platform.Json))
    else:
        click.echo(f"{replayed.read(platform.Named).id} is delivered again.")


def _dead_letter(letter: _DeadLetter) -> str:
    facts = [
        show.minute(letter.dead_at),
        show.plain(letter.subscription),
        "1 attempt" if letter.attempts == 1 else f"{letter.attempts} attempts",
        *([f"about {show.plain(letter.subject)}"] if letter.subject else ()),
        *([f"of {show.plain(letter.tenant)}"] if letter.tenant else ()),
    ]
    title = click.style(show.plain(letter.id), bold=True)
    return f"{title}\n  {', '.join(facts)}\n  {show.plain(letter.reason)}"


def _matches(event: _Event, wanted: str | None, tenant: str | None, subject: str | None) -> bool:
    return (
        (wanted is None or wanted in event.topic)
        and (tenant is None or event.attributes.get("ce-tenant") == tenant)
        and (subject is None or event.attributes.get("ce-subject") == subject)
    )


def _line(event: _Event) -> str:
    attributes = event.attributes
    topic = click.style(f"{show.plain(event.topic):<26}", fg=COLOURS.get(event.topic.split("-")[0]))
    source = click.style(f"{show.plain(attributes.get('ce-source', '')):<22}", dim=True)
    told = show.plain(f"{attributes.get('ce-subject', '')} {_facts(event.data)}")
    return f"{show.plain(attributes.get('ce-time', '')[11:23])} {topic} {source} {told}".rstrip()


def _facts(data: object) -> str:
    """The short fields of an event; of a page of records, how many of which kind."""
    if not isinstance(data, dict):
        return str(data)
    records = data.get("records")
    if isinstance(records, list):
        kinds = [str(record.get("kind")) for record in records if isinstance(record, dict)]
        return " ".join(f"{kind}={kinds.count(kind)}" for kind in dict.fromkeys(kinds))
    hidden = {"request_id", "tenant", "job"}
    return " ".join(f"{name}={value}" for name, value in data.items() if name not in hidden)
