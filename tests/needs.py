"""What a test needs of the machine it runs on."""

import shutil

import pytest


def needs(program: str, how: str) -> pytest.MarkDecorator:
    """Skips a test where a program is missing, saying how to get it: `needs("strace", "apt install strace")`.

    CI skips nothing: there a skipped test fails the run.
    """
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is missing here; {how}")
