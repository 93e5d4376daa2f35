"""`penstock config`."""

import asyncio
import difflib
import sys
from importlib.resources import files
from pathlib import Path

import click
import msgspec
import yaml

from events.config_reading import Unfit
from events.config_schema import config_schema
from events.words import Invalid
from services.cli import options, platform, show
from services.configuration.reading import config_in, read_document

FILE = click.Path(path_type=Path)
COLOURS = {"+": "green", "-": "red", "@": "cyan"}


class InForce(msgspec.Struct):
    """What a platform serves."""

    version: int
    newest: int
    source: str
    document: dict[str, object]
    lacking: dict[str, str]


@click.group()
def command() -> None:
    """Write, check, compare and apply the configuration document: which models there are, and where.

    A platform serves the file PENSTOCK_CONFIG names, or the engine named by --engine; else the document
    that was applied last; else the engine it finds.
    """


@command.command()
@click.argument("file", type=FILE, default="penstock.yaml")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(file: Path, force: bool) -> None:
    """Write a commented document to FILE [default: penstock.yaml], to be changed."""
    text = files("services.configuration").joinpath("default.yaml").read_text(encoding="utf-8")
    try:
        with file.open("w" if force else "x", encoding="utf-8") as made:
            made.write(text)
    except FileExistsError as error:
        raise Invalid(f"{file} is there already; replace it with --force, or name another file.") from error
    except OSError as error:
        raise Invalid(f"{file} cannot be written: {error.strerror}.") from error
    click.echo(f"{file} is there. Change it, then: penstock config validate {file}")


@command.command()
def schema() -> None:
    """Print the JSON Schema of the document, for editors."""
    show.as_json(config_schema())


@command.command()
@click.argument("file", type=FILE)
@options.json_output
def validate(file: Path, as_json: bool) -> None:
    """Say whether FILE could be served. No platform is needed, and nothing it names is called."""
    try:
        config = config_in(read_document(file), file)
    except Invalid as error:
        if not as_json:
            raise
        show.as_json(
            {"valid": False, "mistakes": error.mistakes if isinstance(error, Unfit) else [str(error)]}
        )
        sys.exit(1)
    if as_json:
        show.as_json({"valid": True, "models": sorted(config.models), "names": sorted(config.plans)})
    else:
        click.echo(f"{file} is valid. Models: {', '.join(sorted(config.models))}.")


@command.command("show")
@options.data_dir
@options.json_output
def show_config(data_dir: str | None, as_json: bool) -> None:
    """Show the document a running platform serves, its version and where it came from."""
    answered = platform.find(data_dir).admin("GET", "/config")
    if as_json:
        show.as_json(answered.read(platform.Json))
        return
    found = answered.read(InForce)
    click.echo(f"# {version_of(found)}; from {show.plain(found.source)}")
    for backend, lacks in found.lacking.items():
        click.echo(f"# {show.plain(backend)} needs {show.plain(lacks)}")
    click.echo(as_yaml(found.document), nl=False)


@command.command()
@click.argument("file", type=FILE)
@click.option("--exit-code", is_flag=True, help="End with 1 where they differ.")
@options.data_dir
@options.json_output
def diff(file: Path, exit_code: bool, data_dir: str | None, as_json: bool) -> None:
    """Show what FILE would change on a running platform. Defaults, comments and order make no difference."""
    config = config_in(read_document(file), file)
    found = platform.find(data_dir).admin("GET", "/config").read(InForce)
    before, after = as_yaml(found.document), as_yaml(msgspec.to_builtins(config))
    lines = list(
        difflib.unified_diff(
            before.splitlines(), after.splitlines(), version_of(found), str(file), lineterm=""
        )
    )
    if as_json:
        show.as_json({"differs": bool(lines), "version": found.version, "diff": lines})
    elif not lines:
        click.echo(f"{file} is what the platform serves ({version_of(found)}).")
    for line in [] if as_json else lines:
        click.secho(show.plain(line), fg=COLOURS.get(line[:1]))
    if exit_code and lines:
        sys.exit(1)


@command.command()
@click.argument("file", type=FILE)
@click.option(
    "--after", type=click.IntRange(min=0), help="Only if the newest version is still this one (0: none yet)."
)
@click.option(
    "--project", help="A Google Cloud project: write to its Firestore as yourself, no platform has to run."
)
@click.option(
    "--database",
    envvar="PENSTOCK_DATABASE",
    show_envvar=True,
    default="(default)",
    help="With --project: the Firestore database of the data.",
)
@click.option(
    "--server",
    envvar="FIRESTORE_EMULATOR_HOST",
    show_envvar=True,
    metavar="HOST:PORT",
    help="With --project: an emulator that stands in for Firestore.",
)
@options.data_dir
@options.json_output
def apply(
    file: Path,
    after: int | None,
    project: str | None,
    database: str,
    server: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Have a running platform serve FILE: at once, as a whole, and after every start from now on.

    It is checked before it is accepted. Calls under way end as they began. Every process of a platform on
    Google Cloud follows within seconds. There the first document comes before the first process: write it
    with --project.
    """
    document = read_document(file)
    config_in(document, file)
    if project is not None:
        version = _publish(msgspec.json.encode(document), after, project, database, server)
        if as_json:
            show.as_json({"version": version, "project": project, "database": database})
        else:
            click.echo(f"Version {version} of the configuration lies in {project}, {database}.")
        return
    where = platform.find(data_dir)
    headers = {} if after is None else {"if-match": f'"{after}"'}
    answered = where.admin("PUT", "/config", msgspec.json.encode(document), headers)
    if as_json:
        show.as_json(answered.read(platform.Json))
        return
    found = answered.read(InForce)
    click.echo(f"{version_of(found)} of the configuration is served.".capitalize())
    for backend, lacks in found.lacking.items():
        click.echo(f"{show.plain(backend)} cannot be called: it needs {show.plain(lacks)}.", err=True)


def _publish(body: bytes, after: int | None, project: str, database: str, server: str | None) -> int:
    from services.runtime import cloud_config  # noqa: PLC0415  (Google's client takes a second)

    published = cloud_config.publish(body, after, project=project, database=database, emulator=server)
    return asyncio.run(published).version


def version_of(found: InForce) -> str:
    """A version, for people."""
    return f"version {found.version}" if found.version else "not applied"


def as_yaml(document: object) -> str:
    """Plain data as YAML, sorted, so that two documents can be laid side by side."""
    return yaml.safe_dump(document, sort_keys=True, allow_unicode=True, default_flow_style=False, width=100)
