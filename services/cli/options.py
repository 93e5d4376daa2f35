"""Options many commands share."""

from collections.abc import Callable
from typing import TypeVar

import click

from services.cli.entered import a_line

Command = TypeVar("Command", bound=Callable[..., object])


def data_dir(command: Command) -> Command:
    """`--data-dir`."""
    return click.option(
        "--data-dir",
        callback=a_line,
        metavar="DIR",
        help="Data folder [default: $PENSTOCK_DATA_DIR, ~/.local/share/penstock].",
    )(command)


def json_output(command: Command) -> Command:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


def project(command: Command) -> Command:
    """`--project`."""
    return click.option(
        "--project",
        envvar="GOOGLE_CLOUD_PROJECT",
        required=True,
        show_envvar=True,
        help="The Google Cloud project.",
    )(command)
