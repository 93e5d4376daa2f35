"""`python -m tests.bench.curves`: where longer prompts and more keys would cost more than they should."""

from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click

from tests.bench.entrant import Entrant
from tests.bench.gateways import Gateway, NginxProxy
from tests.bench.platforms import Keyed, Penstock
from tests.bench.results import Cpu, Load
from tests.bench.site.machine import ROOT, check_machine
from tests.bench.site.site import Site

SIZES = (1, 4, 16, 64, 256)  # KB of a body
KEYS = (1, 100, 1_000, 10_000)
CONNECTIONS = 64
Turn = tuple[Load, Cpu | None]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seconds", type=click.IntRange(1), default=2, show_default=True, help="Of each load.")
@click.option("--niceness", type=click.IntRange(-20, 19), default=0, show_default=True)
def command(rounds: int, seconds: int, niceness: int) -> None:
    """Draw two curves: of prompts that grow, beside nginx, and of keys that become many.

    Both gateways are up at once and take turns, as in `python -m tests.bench`. Takes three minutes.
    """
    check_machine(niceness)
    parent = ROOT / ".bench"
    parent.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=parent) as name, ExitStack() as stack:
        site = Site(Path(name), niceness, stack)
        click.echo(prompts(site, rounds, seconds))
        click.echo()
        click.echo(keys(site, rounds, seconds))


def prompts(site: Site, rounds: int, seconds: int) -> str:
    """A table of growing prompts."""
    lines = ["| body, KB | nginx-proxy: requests/s | penstock | x nginx-proxy | CPU ms a request | MB/s |"]
    lines.append("| --- " * 6 + "|")
    with ExitStack() as stack:
        nginx, ours = (_entered(kind(site), site, stack) for kind in (NginxProxy, Penstock))
        for size in SIZES:
            body = site.body_of(size * 1024)
            turns = [[one.wrk(CONNECTIONS, seconds, body) for one in (nginx, ours)] for _ in range(rounds)]
            ratio = median(our[0].rps / its[0].rps for its, our in turns)
            rates = [median(turn[place][0].rps for turn in turns) for place in (0, 1)]
            cpu = _cpu([turn[1] for turn in turns])
            moved = rates[1] * body.stat().st_size / 1e6
            lines.append(
                f"| {size} | {rates[0]:,.0f} | {rates[1]:,.0f} | {ratio:.3f} | {cpu:.3f} | {moved:,.0f} |"
            )
        lines += _problems(nginx, ours)
    return "\n".join(lines)


def keys(site: Site, rounds: int, seconds: int) -> str:
    """A table of keys in turn, each used before."""
    lines = ["| keys | requests/s | CPU ms a request |", "| --- | --- | --- |"]
    with ExitStack() as stack:
        entrants = [_entered(Keyed(site, count), site, stack) for count in KEYS]
        for entrant in entrants:
            entrant.wrk(CONNECTIONS, 2 * seconds)
        turns = [[entrant.wrk(CONNECTIONS, seconds) for entrant in entrants] for _ in range(rounds)]
        for place, count in enumerate(KEYS):
            own = [turn[place] for turn in turns]
            lines.append(f"| {count:,} | {median(load.rps for load, _ in own):,.0f} | {_cpu(own):.3f} |")
        lines += _problems(*entrants)
    return "\n".join(lines)


def _entered(gateway: Gateway, site: Site, stack: ExitStack) -> Entrant:
    entrant = Entrant(gateway, site)
    stack.callback(entrant.stop)
    entrant.start()
    return entrant


def _cpu(turns: list[Turn]) -> float:
    return median(cpu.total_ms / load.answered for load, cpu in turns if cpu is not None)


def _problems(*entrants: Entrant) -> list[str]:
    return [
        f"INVALID: {entrant.row.name}: {problem}" for entrant in entrants for problem in entrant.row.problems
    ]


if __name__ == "__main__":
    command()
