"""`penstock keys`."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

import click
import msgspec

from events.words import Invalid
from services.cli import options, platform, show
from services.cli.entered import a_line

COLUMNS = {
    "id": "KEY",
    "tenant": "TENANT",
    "name": "NAME",
    "created_at": "CREATED",
    "expires_at": "EXPIRES",
    "revoked_at": "REVOKED",
}
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Made(msgspec.Struct):
    """A key that was just made."""

    id: str
    tenant: str
    key: str


@click.group()
def command() -> None:
    """Make, list and revoke API keys.

    A key acts for one tenant. It is shown once, when it is made; only its SHA-256 is kept.
    """


@command.command()
@click.option(
    "--tenant", callback=a_line, default="default", show_default=True, help="Who pays for what the key does."
)
@click.option("--name", default="", help="What the key is for, as shown in lists and reports.")
@click.option("--expires", metavar="TIME", help="When it ends: 12h, 30d, 8w, or 2027-01-31T00:00:00Z.")
@options.data_dir
@options.json_output
def create(tenant: str, name: str, expires: str | None, data_dir: str | None, as_json: bool) -> None:
    """Make a key and print it, this once."""
    asked = {"tenant": tenant, "name": name, "expires_at": expires_at(expires, datetime.now(UTC))}
    made = platform.find(data_dir).admin("POST", "/keys", asked)
    if as_json:
        show.as_json(made.read(platform.Json))
        return
    key = made.read(Made)
    click.echo(key.key)
    click.echo(f"{key.id} acts for {key.tenant}. Keep the key: it is not shown again.", err=True)


@command.command("list")
@click.option("--tenant", callback=a_line, help="Only this tenant's keys.")
@options.data_dir
@options.json_output
def list_keys(tenant: str | None, data_dir: str | None, as_json: bool) -> None:
    """List keys: who they act for, when they end; never the keys themselves."""
    query = f"?{urlencode({'tenant': tenant})}" if tenant else ""
    found = platform.find(data_dir).rows(f"/keys{query}")
    if as_json:
        show.as_json(found)
    else:
        show.as_table(found, COLUMNS, empty="No keys.", folds=("name",))


@command.command()
@click.argument("key", callback=a_line)
@options.data_dir
@options.json_output
def revoke(key: str, data_dir: str | None, as_json: bool) -> None:
    """End the key with the id KEY (as `keys list` shows it) at once."""
    ended = platform.find(data_dir).admin("POST", f"/keys/{quote(key, safe='')}/revoke")
    if as_json:
        show.as_json(ended.read(platform.Json))
    else:
        click.echo(f"{ended.read(platform.Named).id} is revoked.")


def expires_at(text: str | None, now: datetime) -> datetime | None:
    """A time from a span like `30d` or an RFC 3339 time. Raises `Invalid`."""
    if text is None:
        return None
    try:
        if span := re.fullmatch(r"(\d{1,6})([mhdw])", text):
            return now + timedelta(**{UNITS[span[2]]: int(span[1])})
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid(f"--expires {text!r} is neither a span (12h, 30d) nor an RFC 3339 time.") from error
    except OverflowError as error:
        raise Invalid(f"--expires {text!r} is too far away.") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)
