"""What people type and pipe into commands, checked before it goes anywhere."""

import sys

import click

from events.words import Invalid


def a_line(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A callback for what has to be one line of text, and not empty."""
    if value is not None and not (value and value.isprintable()):
        raise click.BadParameter(f"{value!r} is not a line of text.", ctx, param)
    return value


def an_ascii_line(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The same for what becomes a header."""
    if value is not None and not value.isascii():
        raise click.BadParameter(f"{value!r} is not ASCII.", ctx, param)
    return a_line(ctx, param, value)


def piped() -> bytes:
    """What stands on standard input, to its end. Raises `Invalid` where that cannot be read."""
    try:
        return sys.stdin.buffer.read() if sys.stdin else b""
    except OSError as error:
        raise Invalid(f"Standard input cannot be read: {error.strerror}.") from error


def is_piped() -> bool:
    """Whether standard input is no terminal somebody sits at."""
    return sys.stdin is None or not sys.stdin.isatty()
