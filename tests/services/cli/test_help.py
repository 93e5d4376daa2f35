"""Every command says what it does."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from services.cli.main import COMMANDS, penstock


def commands(group: click.Group, *above: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A group's commands and all below them, by what one types."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*above, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)


# `test` is no command of the package; it says where the tests are.
ALL = {words: command for words, command in commands(penstock) if words != ("test",)}


def help_of(*words: str) -> str:
    shown = CliRunner().invoke(penstock, [*words, "--help"], prog_name="penstock")
    assert 0 == shown.exit_code
    return shown.output


def test_the_first_help_lists_every_command_with_what_it_does() -> None:
    shown = help_of()

    assert "penstock up" in shown
    for name, purpose in COMMANDS.items():
        assert name in shown
        assert purpose in shown


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_commands_help_says_what_it_does_and_what_its_options_mean(words: tuple[str, ...]) -> None:
    shown, command = " ".join(help_of(*words).split()), ALL[words]

    assert f"Usage: penstock {' '.join(words)}" in shown
    assert command.help is not None
    assert " ".join(command.help.split()).split(". ")[0] in shown
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert [] == [option.name for option in options if not option.help]


@pytest.mark.parametrize(
    "words", [("nothing",), ("keys", "nothing"), ("up", "--nothing"), ("up", "--port", "x")]
)
def test_what_is_no_command_is_told_with_the_way_to_the_help(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(penstock, words, prog_name="penstock")

    assert 2 == shown.exit_code
    assert "--help" in shown.output
