"""`penstock engine` says what it can do."""

import re

import pytest
from click.testing import CliRunner

from services.cli.commands.engine import command
from services.rehearsal.drills.faults import FAULTS


@pytest.mark.parametrize("name", ["status", *FAULTS])
def test_its_help_names_every_fault(name: str) -> None:
    told = CliRunner().invoke(command, ["--help"])
    assert 0 == told.exit_code
    assert re.search(rf"\n +{name} +\S", told.output)
    assert all(len(line) <= 110 for line in told.output.splitlines())
