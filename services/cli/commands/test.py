"""`penstock test`, where there are no tests to run."""

import click

from events.words import Invalid


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1)
def command(arguments: tuple[str, ...]) -> None:
    """Says where the tests are: they are no part of the package."""
    raise Invalid("The tests live in Penstock's repository; run there: ./penstock test")
