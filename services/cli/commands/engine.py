"""`penstock engine`."""

import errno
from pathlib import Path

import click
import msgspec

from events.words import Conflict, Invalid, PenstockError
from services.cli.commands.up import run
from services.cli.entered import a_line
from services.rehearsal.drills.faults import FAULTS, STATUS_TOLD
from services.rehearsal.endpoint import Options
from services.rehearsal.engine import serve
from services.rehearsal.profiles import PROFILES, paced

NAMED = {"status": STATUS_TOLD, **{name: kind.told for name, kind in FAULTS.items()}}
DRILLS = "\b\n" + "\n".join(
    [
        "With --control, the header x-rehearsal-fault: NAME[:N[:R]] breaks the answer to its request, and",
        'POST /rehearsal/faults {"fault": NAME, "n": N, "count": 3} those to the next three; with',
        '"probability": 0.1 a tenth of all, until DELETE /rehearsal/faults. The names:',
        *(f"  {name:8} {told}" for name, told in NAMED.items()),
        'POST /rehearsal/hold {"phase": "accepted|first_token|after_tokens|before_end"} holds answers,',
        "POST /rehearsal/release lets them go, GET /rehearsal/state lists them.",
    ]
)


@click.command(epilog=DRILLS)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8001,
    show_default=True,
    help="Where to listen; 0 takes any free port.",
)
@click.option(
    "--host", callback=a_line, default="127.0.0.1", show_default=True, help="The address to listen on."
)
@click.option(
    "--profile",
    type=click.Choice(sorted(PROFILES)),
    default="quick",
    show_default=True,
    help="How fast it answers: pleasant, at once, or like an engine on an L4.",
)
@click.option(
    "--model", callback=a_line, default="gemma-3-4b-it", show_default=True, help="The name of its one model."
)
@click.option(
    "--log",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Append a JSON line for every attempt.",
)
@click.option(
    "--tokens-per-s",
    type=click.FloatRange(min=0.01),
    help="Tokens a second of each answer, in place of the profile's pace.",
)
@click.option("--control", is_flag=True, help="Let callers hold and break answers, as told below.")
@click.option("--seed", default=0, show_default=True, help="The same seed makes up the same answers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line once it serves.")
def command(
    port: int,
    host: str,
    profile: str,
    model: str,
    log: Path | None,
    tokens_per_s: float | None,
    control: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Run the rehearsal engine by itself: it speaks OpenAI's API and makes its answers up.

    For load tests, simulations and drills: answers cost no GPU and take as long as you say. It serves chat
    completions (tools, response_format, logprobs), completions, embeddings and models; a tool is called where
    the user's last message names it.
    """
    pace = PROFILES[profile] if tokens_per_s is None else paced(PROFILES[profile], tokens_per_s)
    chosen = Options(profile=pace, model=model, log_path=log, control=control, seed=seed)

    def started(bound: int) -> None:
        url = address(host, bound)
        plain = f"The rehearsal engine serves at {url}. Ctrl-C stops."
        click.echo(msgspec.json.encode({"url": url}) if as_json else plain)

    try:
        run(serve(chosen, host, port, started=started))
    except (OSError, UnicodeError) as error:
        raise _not_started(error, host, port, log) from error


def address(host: str, port: int) -> str:
    """The URL of what listens there."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _not_started(error: OSError | UnicodeError, host: str, port: int, log: Path | None) -> PenstockError:
    why = getattr(error, "strerror", None) or error
    if getattr(error, "filename", None) is not None:
        return Invalid(f"--log: {log} cannot be written: {why}.")
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        return Conflict(f"The port {port} on {host} is taken. Choose another with --port (0 takes any).")
    return Invalid(f"Nothing can listen on {host}, port {port}: {why}.")
