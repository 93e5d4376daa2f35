"""`python -m tests.bench`."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import msgspec

from tests.bench.contest import QUICK, Plan, hold
from tests.bench.lineup import GATEWAYS, USUAL
from tests.bench.report import document
from tests.bench.results import Header, Row
from tests.bench.site.machine import ROOT, Failed, Missing, check_machine, header
from tests.bench.site.site import Site


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[GATEWAY]...", type=click.Choice(list(GATEWAYS)))
@click.option(
    "--rounds", type=click.IntRange(1), default=Plan().rounds, show_default=True, help="Under wrk, for each."
)
@click.option(
    "--seconds", type=click.IntRange(1), default=3, show_default=True, help="Of each load at its fullest."
)
@click.option("--quick", is_flag=True, help="One short round of everything: it proves, it does not measure.")
@click.option("--results", type=click.Path(dir_okay=False, path_type=Path), help="Append JSON lines here.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=ROOT / ".bench",
    help="Where data lies meanwhile; a real disk, or syncing costs nothing [default: .bench].",
)
@click.option(
    "--niceness",
    type=click.IntRange(-20, 19),
    default=0,
    show_default=True,
    help="Of everything that is started; below 0 (as root) it goes before the machine's other work.",
)
def command(
    names: tuple[str, ...],
    rounds: int,
    seconds: int,
    quick: bool,
    results: Path | None,
    folder: Path,
    niceness: int,
) -> None:
    """Measure gateways side by side: all of them, or those named.

    The gateway runs on the first processor; upstreams that do nothing and the load (wrk, and a client
    of our own for streams) share the second. The gateways take turns, round by round, so that each
    ratio to nginx-proxy compares two figures of the same minute.

    penstock is `penstock up` with its usual SQLite files; penstock-cloud is the router as it runs on Google
    Cloud, before a Pub/Sub that acks and counts, and Firestore's official emulator. After each load the
    books must hold exactly the requests that were answered, with their tokens; of streams every event must
    arrive. Where something is missing, the row is marked invalid and the exit status is 1.

    \b
    python -m tests.bench                         everything, about five minutes
    python -m tests.bench nginx-proxy penstock    only these
    python -m tests.bench penstock penstock-guarded
                                                  what a guard that changes nothing costs
    python -m tests.bench --quick                 does it work? about half a minute
    """
    plan = QUICK if quick else Plan(rounds=rounds, full_s=seconds, stream_s=seconds)
    _forget_settings()
    try:
        check_machine(niceness)
        found = measure(list(dict.fromkeys(names)) or _measurable(), plan, folder, niceness)
    except (Missing, Failed) as error:
        raise click.ClickException(str(error)) from error
    click.echo(document(*found))
    if results is not None:
        append(results, *found)
    sys.exit(1 if any(row.problems for row in found[1]) else 0)


def _measurable() -> list[str]:
    """The usual gateways but those this machine lacks something for."""
    lacking = {kind.name: lacks for kind in USUAL if (lacks := kind.lacks())}
    for name, lacks in lacking.items():
        click.echo(f"{name} is left out: {lacks}", err=True)
    return [kind.name for kind in USUAL if kind.name not in lacking]


def _forget_settings() -> None:
    """What the caller set for a platform of their own is not for the one we start."""
    for name in [name for name in os.environ if name.startswith("PENSTOCK_")]:
        del os.environ[name]


def measure(names: list[str], plan: Plan, parent: Path, niceness: int) -> tuple[Header, list[Row]]:
    """One run in a folder of its own, of which nothing stays."""
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=parent) as name, ExitStack() as stack:
        folder = Path(name)
        about = header(folder)
        site = Site(folder, niceness, stack)
        return about, hold(names, site, plan, lambda line: click.echo(line, err=True))


def append(path: Path, about: Header, rows: list[Row]) -> None:
    """A line of JSON for each gateway."""
    with path.open("ab") as file:
        for row in rows:
            file.write(msgspec.json.encode({"run": about, "row": row}) + b"\n")


if __name__ == "__main__":
    command()
