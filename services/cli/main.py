"""The `penstock` command: finds the subcommand asked for, and turns our errors into sentences."""

import importlib
import io
import sys
from collections.abc import Sequence

import click

from services.cli.ours import ForeignPackage, check_packages
from services.runtime.version import version

COMMANDS = {
    "up": "Start the whole platform on this machine.",
    "chat": "Talk to a model in the terminal.",
    "publish": "Queue a request by publishing it on a tenant's ingest topic.",
    "usage": "Show tokens by tenant, key, model and day.",
    "keys": "Make, list and revoke API keys.",
    "tenants": "Make and list tenants; set what is on for them.",
    "config": "Write, check, compare and apply the configuration document.",
    "cache": "Purge cached answers.",
    "events": "Watch the system's conversation; list and replay dead letters.",
    "backup": "Copy everything that is kept, prove the copies, bring them back.",
    "advise": "Show how many replicas there should be, and why.",
    "jobs": "See what runs by schedule; start, pause and resume it.",
    "topics": "Make the topics and subscriptions in Google Cloud Pub/Sub.",
    "serve": "Run one process of a platform on Google Cloud.",
    "engine": "Run the rehearsal engine by itself, for load tests.",
    "test": "Run the tests (in the repository).",
}


class LazyGroup(click.Group):
    """Imports a command only when it is asked for: `penstock keys list` needs no server."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, from the module of its name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"services.cli.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), message="%(prog)s %(version)s")
def penstock() -> None:
    """Penstock: an LLM inference platform on your own GPUs, speaking OpenAI's API.

    Start with `penstock up`; it prints the address, a key and a line to try. Every command that prints
    facts takes --json for scripts.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. It ends with 0 when all is well, with 1 and a sentence where something could
    not be done, with 2 where it was asked for in a way no command understands.
    """
    prepare_streams()
    check_text(sys.argv[1:] if arguments is None else arguments)
    try:
        check_packages()
        from events.words import PenstockError  # noqa: PLC0415  (only once it is known to be ours)
    except ForeignPackage as error:
        sys.exit(f"penstock: {error}")
    try:
        penstock.main(arguments, prog_name="penstock")
    except PenstockError as error:
        sys.exit(f"penstock: {error}")


def prepare_streams() -> None:
    """What a terminal cannot show, or what is piped in no encoding, is no reason to fail."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def check_text(arguments: Sequence[str]) -> None:
    """Ends the process where an argument is not text: nothing further on could encode it."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            print(f"penstock: the argument {argument!a} is not UTF-8 text.", file=sys.stderr)
            sys.exit(2)


if __name__ == "__main__":
    main()
